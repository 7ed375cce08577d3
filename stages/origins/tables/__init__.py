"""Reads tables in the formats in which people have them."""
