"""The work of `cut_clips`: from lists of videos to clips with captions."""
