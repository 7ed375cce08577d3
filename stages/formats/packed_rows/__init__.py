"""Packed rows: their members, where they lie, and the way from a sample to them."""
