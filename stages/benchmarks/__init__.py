"""Benchmarks in their authors' own files: what their rows hold, how they are asked, and how they are scored."""
