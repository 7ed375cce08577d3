"""Videos in records of conversations: what a record refers to, and frames that stand for a video."""
