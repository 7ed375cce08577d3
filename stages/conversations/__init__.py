"""Conversations of other people: their records in any dialect, read into one form."""
