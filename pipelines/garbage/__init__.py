"""What of a store may be deleted, and its deletion."""
