"""Collecting: the pictures that conversations refer to, each once, as RawPairs without captions."""
