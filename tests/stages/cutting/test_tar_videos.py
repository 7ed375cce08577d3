"""WebDataset tars of videos: each sample is a clip or a reason, and what is cut off is said."""

import json
from pathlib import Path

import pytest

from stages.contract import StageError
from tests.worlds.cut_world import SRT, cut, ends_of, film, rows_of, spans_of, tar_bytes


def test_tars_give_a_video_for_each_sample_and_a_failed_item_for_what_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "tars").mkdir()
    members = {
        "000.json": json.dumps({"text": "from JSON", "duration": 4}).encode(),
        "000.mp4": film(),
        "001.mp4": film(2.0),
        "001.srt": SRT.encode(),
        "002.txt": b"a text without a video",
        "003.left.mp4": film(1.0),
        "003.right.mp4": film(1.0, seed=1),
        "004.mp4": film(1.0, seed=2),
        "004.txt": b"cut off here",
    }
    whole = tar_bytes(members)
    (tmp_path / "tars/0.tar").write_bytes(whole)
    (tmp_path / "tars/1.tar").write_bytes(whole[: whole.index(film(1.0, seed=2)) + 500])
    raw = cut(tmp_path, tmp_path / "tars")
    ends = [("0.tar", name) for name in ("000.mp4", "001.mp4", "002", "003", "004.mp4")]
    reasons = ["kept", "kept", "video_missing", "several_videos"]
    expected = {f"{tar}/{name}": [reason] for (tar, name), reason in zip(ends, [*reasons, "kept"], strict=True)}
    expected |= {f"1.tar/{name}": [end] for (_, name), end in zip(ends, [*reasons, "truncated_tar"], strict=True)}
    found = ends_of(raw)
    (rest,) = [name for name in found if "from byte" in name]
    assert found.pop(rest) == ["truncated_tar"]
    assert found == expected
    captions = ["from JSON", "first words second words", "cut off here", "from JSON", "first words second words"]
    assert [caption for *_, caption in spans_of(raw)] == captions
    assert json.loads(rows_of(raw)[0]["source_json"])["duration"] == 4


def test_a_large_tar_is_read_in_stretches(tmp_path: Path) -> None:
    (tmp_path / "tars").mkdir()
    members = {f"{number:03d}.mp4": film(1.0, seed=number) for number in range(4)}
    (tmp_path / "tars/0.tar").write_bytes(tar_bytes(members))
    raw = cut(tmp_path, tmp_path / "tars", max_tar_bytes=6000)
    assert len(raw.parts) > 1
    assert ends_of(raw) == {f"0.tar/{name}": ["kept"] for name in members}


def test_compressed_tars_are_refused(tmp_path: Path) -> None:
    (tmp_path / "0.tar.gz").write_bytes(b"")
    with pytest.raises(StageError, match="unpack it"):
        cut(tmp_path, tmp_path / "0.tar.gz")
