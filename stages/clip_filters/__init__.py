"""Filtering of clips: what their frames measure, what their captions say, and which clips are nearly the same."""
