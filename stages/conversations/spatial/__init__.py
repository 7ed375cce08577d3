"""Spatial data in records: marks on pictures, and what is known of their cameras, as text."""
