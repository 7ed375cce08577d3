"""Places: where the files of sources lie, and how they are listed and read there."""
