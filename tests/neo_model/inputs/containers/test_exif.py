"""The orientation in EXIF, and nothing else that might be called one."""

from __future__ import annotations

import pytest

from neo_model.inputs.containers.exif import orientation_of
from tests.neo_model.inputs.containers.files import exif, xmp


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("sign", ["<", ">"])
@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0", b"Exif\0\xff"])
def test_an_orientation_is_found_in_either_byte_order(orientation: int, sign: str, prefix: bytes) -> None:
    assert orientation_of(prefix + exif(orientation, sign=sign)) == orientation
    assert orientation_of(memoryview(prefix + exif(orientation, sign=sign))) == orientation


@pytest.mark.parametrize(
    "block",
    [
        b"", b"II*\0", b"Exif\0\0", b"garbage" * 9, xmp(6), exif(0), exif(9), exif(255), exif(6, kind=4),
        exif(6, kind=2), exif(6, count=2), exif(6, count=0), exif(6, num_entries=1), exif(6)[:30],
        b"II*\0\xff\xff\xff\xff" + exif(6)[8:],
        b"MM\0*" + exif(6)[4:],
    ],
)  # fmt: skip
def test_what_is_broken_turns_nothing(block: bytes) -> None:
    assert orientation_of(block) == 1


def test_entries_that_are_announced_and_missing_do_not_hide_the_one_that_is_there() -> None:
    assert orientation_of(exif(6, num_entries=900)) == 6
