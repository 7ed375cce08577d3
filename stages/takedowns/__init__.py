"""What is to be forgotten: lists of digests in the store, and the rows that they take."""
