"""One reader for all tests of a module: its process is reused, as in a stage."""

from collections.abc import Iterator

import pytest

from stages.video.reader import VideoReader


@pytest.fixture(scope="module")
def reader() -> Iterator[VideoReader]:
    """A reader with the default limits."""
    with VideoReader() as reader:
        yield reader
