"""What differs between two artifacts, or two runs: their steps aligned, and compared from heads."""
