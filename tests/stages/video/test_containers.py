"""Formats by their first bytes, and packets of files in which streams appear late."""

from collections.abc import Iterator
from typing import Any

import pytest

from stages.video.containers import format_of, packets_of
from stages.video.faults import VideoError, VideoFault
from tests.worlds.films import FORMS, constant_times, film_bytes

NAMES = {".mp4": "mov", ".mov": "mov", ".mkv": "matroska", ".webm": "matroska", ".mpg": "mpeg", ".ts": "mpegts"}


@pytest.mark.parametrize("name", list(FORMS))
def test_formats_are_known_by_their_first_bytes(name: str) -> None:
    suffix = FORMS[name].suffix
    assert format_of(film_bytes(FORMS[name], constant_times(12))[:4096]) == NAMES.get(suffix, suffix[1:])


def test_m2ts_has_longer_packets() -> None:
    assert format_of((bytes(4) + b"\x47" + bytes(187)) * 5) == "mpegts"


@pytest.mark.parametrize(
    ("head", "fault"),
    [
        (b"", VideoFault.UNKNOWN_FORMAT),
        (b"\0" * 4096, VideoFault.UNKNOWN_FORMAT),
        (b"\x89PNG\r\n\x1a\n", VideoFault.UNKNOWN_FORMAT),
        (b"RIFF\0\0\0\0WEBP", VideoFault.UNKNOWN_FORMAT),
        (b"\xef\xbb\xbf  #EXTM3U", VideoFault.PLAYLIST),
        (b"<?xml version='1.0'?><MPD>", VideoFault.PLAYLIST),
        (b"FFCONCAT version 1.0", VideoFault.PLAYLIST),
    ],
)
def test_what_is_no_film_is_refused(head: bytes, fault: VideoFault) -> None:
    with pytest.raises(VideoError) as caught:
        format_of(head)
    assert caught.value.fault is fault


class LateStream:
    """A container in which a second stream has appeared by the end, as PyAV 18.1 reads it."""

    def demux(self, stream: Any) -> Iterator[int]:
        """Two packets, the empty one, then the error."""
        yield from (1, 2, 0)
        raise IndexError("list index out of range")


def test_a_stream_that_appears_late_costs_no_packet() -> None:
    container: Any = LateStream()
    assert list(packets_of(container, None)) == [1, 2, 0]  # type: ignore[arg-type,comparison-overlap]
