"""Which clip a record means follows from the name of its video and the times that it gives."""

import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster.local import make
from stages.artifacts.kinds import CONVERSATIONS_FILE
from stages.contract import Source
from stages.conversations.names.clip_names import FoundClip, NamedClip, clip_meant, names_of
from stages.conversations.reasons import ConversationReason as Why
from stages.conversations.videos.references import VideoReference
from stages.cut_clips import CutClipsRecipe, cut_clips
from stages.read_conversations import ReadConversationsRecipe, read_conversations
from tests.worlds.cut_world import film


def cut(*clips: tuple[str, float, float, int], video: int = 7, seconds: float = 0.0) -> list[NamedClip]:
    return [NamedClip(name.encode(), start, end, seconds, video, is_kept) for name, start, end, is_kept in clips]


HALVES = cut(("a", 0.0, 5.0, 1), ("b", 5.0, 10.0, 1))
WHOLE = cut(("a", 0.0, 10.0, 1))
BOTH = [*HALVES, *cut(("c", 0.0, 10.0, 1))]
TWICE = cut(("a", 0.0, 10.0, 0), ("b", 0.0, 10.0, 1), ("c", 0.0, 10.0, 1))
ONE_LEFT = cut(("a", 0.0, 5.0, 1), ("b", 5.0, 10.0, 0))
BEGINNING = cut(("a", 0.0, 5.0, 1), seconds=60.0)

MEANT: list[tuple[list[NamedClip], float | None, float | None, FoundClip]] = [
    ([], None, None, Why.VIDEO_MISSING),
    (WHOLE, None, None, b"a"),
    (BOTH, None, None, b"c"),
    (TWICE, None, None, b"b"),
    (HALVES, None, None, Why.VIDEO_AMBIGUOUS),
    (ONE_LEFT, None, None, Why.VIDEO_AMBIGUOUS),
    (cut(("a", 5.0, 10.0, 1)), None, None, Why.VIDEO_AMBIGUOUS),
    (cut(("a", 0.0, 10.0, 0)), None, None, Why.VIDEO_MISSING),
    (HALVES, 0.0, 5.0, b"a"),
    (HALVES, 0.04, 4.95, b"a"),
    (HALVES, 5.0, None, b"b"),
    (HALVES, None, 5.0, b"a"),
    (HALVES, 5.0, 60.0, b"b"),
    (HALVES, 2.0, 5.0, Why.VIDEO_MISSING),
    (HALVES, 0.0, 10.0, Why.VIDEO_MISSING),
    (ONE_LEFT, 5.0, 10.0, Why.VIDEO_MISSING),
    (BOTH, 0.0, 10.0, b"c"),
    (BEGINNING, None, None, Why.VIDEO_AMBIGUOUS),
    (BEGINNING, None, 5.0, b"a"),
    (BEGINNING, 0.0, 60.0, Why.VIDEO_MISSING),
    (BEGINNING, 0.0, 10.0, Why.VIDEO_MISSING),
    (cut(("a", 0.0, 60.02, 1), ("b", 5.0, 10.0, 1), seconds=60.0), None, None, b"a"),
    (cut(("a", 0.0, 10.0, 1), seconds=10.0), 0.0, 99.0, b"a"),
    ([*WHOLE, *cut(("d", 0.0, 10.0, 1), video=8)], None, None, Why.VIDEO_AMBIGUOUS),
    ([*HALVES, *cut(("d", 20.0, 30.0, 1), video=8)], 0.0, 5.0, Why.VIDEO_AMBIGUOUS),
]


@pytest.mark.parametrize(("clips", "start", "end", "meant"), MEANT)
def test_a_clip_is_meant_by_its_times_or_covers_all(
    clips: list[NamedClip], start: float | None, end: float | None, meant: FoundClip
) -> None:
    assert clip_meant(VideoReference("v.mp4", start, end), clips) == meant


def test_a_video_has_several_names() -> None:
    assert names_of("http://a.test/1.mp4", "http://a.test/1.mp4", b"\x01") == ["http://a.test/1.mp4", "sha256:01"]
    assert names_of("s:./a/1.mp4", "./a/1.mp4", b"\x01") == ["s:./a/1.mp4", "./a/1.mp4", "a/1.mp4", "sha256:01"]
    assert "b/1.mp4" in names_of("s:x/0.tar.gz/./b/1.mp4", "x/0.tar.gz/./b/1.mp4", b"")
    assert names_of(None, None, b"\x01") == ["sha256:01"]


def test_rows_behind_the_end_of_a_film_hide_no_clip_and_a_part_is_not_the_whole(tmp_path: Path) -> None:
    """Films of two seconds: a table cuts all of one, and asks for what it does not have; of the other it cuts half."""
    (tmp_path / "films").mkdir()
    for number, name in enumerate(("whole.mp4", "half.mp4")):
        (tmp_path / "films" / name).write_bytes(film(2.0, seed=number))
    asked = ["whole.mp4,,", "whole.mp4,5,9", "whole.mp4,1.5,1", "half.mp4,0,1"]
    (tmp_path / "list.csv").write_text("\n".join(["video,start,end", *asked]))
    records = [
        {
            "id": name,
            "video": name,
            "conversations": [{"from": "human", "value": "<video>?"}, {"from": "gpt", "value": "A"}],
        }
        for name in ("whole.mp4", "half.mp4")
    ]
    (tmp_path / "chats.json").write_text(json.dumps(records))
    clips = cut_clips.bind("clips", CutClipsRecipe(source=Source("list"), videos=Source("films"), max_share_lost=1.0))
    recipe = ReadConversationsRecipe(source=Source("chats"), max_share_lost=1.0)
    sources = {"list": "list.csv", "films": "films", "chats": "chats.json"}
    places = {name: str(tmp_path / file) for name, file in sources.items()}
    made = make(read_conversations.bind("talks", recipe, None, clips), tmp_path / "store", sources=places)
    tables = [pq.read_table(io.BytesIO(made.read(part.file(CONVERSATIONS_FILE)))) for part in made.parts]
    rows = [row for table in tables for row in table.to_pylist()]
    assert [(row["id"], row["reason"], len(row["clip_ids"])) for row in rows] == [
        ("whole.mp4", None, 1),
        ("half.mp4", "video_ambiguous", 0),
    ]
