"""What `export` writes beside the weights of a checkpoint."""
