"""Takedowns: reading a list, finding what a store holds of it, and what is made again without it."""
