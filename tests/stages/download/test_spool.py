"""Pictures lie end to end in the spool, each found again by its offset."""

import hashlib
from pathlib import Path

import pytest

from stages.download.judge_picture import JudgedPicture
from stages.download.spool import Spool


def test_a_picture_is_found_by_its_offset_and_known_by_its_digest(tmp_path: Path) -> None:
    bodies = [b"one", b"", b"three" * 1000]
    with Spool(tmp_path / "spool") as spool:
        spooled = [spool.add(JudgedPicture(body, 3, 2, "JPEG RGB")) for body in bodies]
    data = (tmp_path / "spool").read_bytes()
    assert [data[item.offset : item.offset + item.size_bytes] for item in spooled] == bodies
    assert [item.sha256 for item in spooled] == [hashlib.sha256(body).digest() for body in bodies]
    assert {(item.width_px, item.height_px, item.sent_as) for item in spooled} == {(3, 2, "JPEG RGB")}


def test_a_full_disk_is_an_error() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this machine has no /dev/full")
    spool = Spool(full)
    with pytest.raises(OSError, match="No space left"):
        for _ in range(3):
            spool.add(JudgedPicture(bytes(2**20), 3, 2, "JPEG RGB"))
