"""Held-out samples are never drawn, whatever they are known by, and each is counted and listed."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cluster.local import make
from stages.artifacts.kinds import DRAW_FILE, HELD_OUT_FILE, Draw
from stages.contract import StageError, Step
from stages.filter_pairs import FilterPairsRecipe
from stages.formats.clips import Clip
from stages.formats.pairs import Pair, StoredImage
from stages.formats.sample_table import read_table
from stages.formats.samples import CaptionedClip, CaptionedPicture, Chat, PlainText
from stages.mix_samples import MixRecipe, mix_samples
from stages.mixing.held_out import Marks, marks_of, plain_text, plain_url
from stages.store.store import Store
from tests.worlds.mixture_world import (
    CHATS,
    KEPT,
    TEXTS,
    ChatsRecipe,
    PairsRecipe,
    TextsRecipe,
    filter_pairs,
    make_chats,
    make_pairs,
    make_texts,
    sample_id,
)

MIX = MixRecipe(shares={"pairs": 2, "text": 1, "chat": 1}, max_epochs={"pairs": 2, "text": 2, "chat": 2})
SOURCES = {"pairs": KEPT, "text": TEXTS, "chat": CHATS}
EXAM = make_pairs.bind("exam", PairsRecipe(num_pairs=12, num_parts=2, split="heldout"))
"""Of the same numbers as the first pairs of KEPT, so the very same pictures, URLs and sample ids."""


def rows_of(draw: Draw, phase: str, file: str) -> list[dict]:
    return pa.concat_tables(read_table(draw.read(part.file(file))) for part in draw.phase(phase)).to_pylist()


def draw_without(store: Store, **heldout: Step) -> Draw:
    return make(mix_samples.bind("mix", MIX, SOURCES, heldout), store)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def pair(number: int = 0, url: str = "http://one.invalid/a.jpg", picture: bytes = b"p" * 32, caption: str = "") -> Pair:
    image = StoredImage(sample_id(f"made {number}"), picture, 0, 1, "00000")
    return Pair(image, url, caption, 64, 64, number)


def marks(*samples) -> Marks:
    found = sorted((mark, kind, sample.sample_id) for sample in samples for kind, mark in marks_of(sample))
    table = pa.table({"kind": [kind for _, kind, _ in found], "sample_id": [whose for *_, whose in found]})
    return Marks(np.array([mark for mark, *_ in found], "S16"), table)


def test_pictures_are_drawn_neither_as_pairs_nor_in_conversations(store: Store) -> None:
    examined = {row["sample_id"] for row in rows_of(make(EXAM, store), "download", "samples.parquet")}
    about = {
        row["sample_id"]: set(row["image_ids"]) for row in rows_of(make(CHATS, store), "read", "conversations.parquet")
    }
    everything = {row["sample_id"] for row in rows_of(draw_without(store), "draw", DRAW_FILE)}
    assert everything & examined and any(about[chat] & examined for chat in everything & about.keys())
    draw = draw_without(store, exam=EXAM)
    drawn = {row["sample_id"] for row in rows_of(draw, "draw", DRAW_FILE)}
    assert not drawn & examined
    assert not any(about[chat] & examined for chat in drawn & about.keys())
    listed = rows_of(draw, "hold_out", HELD_OUT_FILE)
    assert {row["sample_id"] for row in listed} == {
        *(everything & examined),
        *(chat for chat, images in about.items() if images & examined),
    }
    assert Counter(row["by"] for row in listed) == {
        "sample_id": len(everything & examined),
        "picture": len(listed) - len(everything & examined),
    }
    assert all(row["held_out_in"] == "exam" and row["held_out_sample_id"] in examined for row in listed)


def test_pictures_that_held_out_conversations_are_about_are_not_drawn(store: Store) -> None:
    unseen = filter_pairs.bind(
        "seen", FilterPairsRecipe(max_aspect=4.0), make_pairs.bind("p", PairsRecipe(num_pairs=20))
    )
    exam = make_chats.bind("exam", ChatsRecipe(num_chats=4), unseen)
    asked = rows_of(make(exam, store), "read", "conversations.parquet")
    shown = {picture for row in asked for picture in row["image_ids"]}
    draw = draw_without(store, exam=exam)
    assert shown and not shown & {row["sample_id"] for row in rows_of(draw, "draw", DRAW_FILE)}
    assert {row["by"] for row in rows_of(draw, "hold_out", HELD_OUT_FILE)} >= {"sample_id", "picture"}


def test_a_part_whose_samples_are_all_held_out_draws_none(store: Store) -> None:
    texts = [row["text"] for row in rows_of(make(TEXTS, store), "read", "documents.parquet")]
    first_part = make(TEXTS, store).phase("read")[0].items.kept
    exam = make_texts.bind("exam", TextsRecipe(texts=tuple(texts[: len(texts) // 2]), num_parts=1))
    draw = draw_without(store, exam=exam)
    (facts,) = (part.facts for part in draw.phase("draw") if part.part == "text-00000")
    assert (facts["num_samples"], facts["num_held_out"], facts["num_drawn"]) == (0, first_part, 0)


def test_what_is_held_out_is_counted_apart_and_the_shares_hold_without_it(store: Store) -> None:
    draw = draw_without(store, exam=EXAM)
    num_held_out = len(rows_of(draw, "hold_out", HELD_OUT_FILE))
    assert draw.manifest.items.dropped["held_out"] == num_held_out > 10
    drawn = Counter(row["source"] for row in rows_of(draw, "draw", DRAW_FILE))
    assert drawn["pairs"] == pytest.approx(2 * drawn["text"], abs=1) == pytest.approx(2 * drawn["chat"], abs=1)
    num_kept = sum(make(source, store).manifest.items.kept for source in SOURCES.values())
    counted = Counter()
    for part in draw.phase("draw"):
        counted.update({name: number for name, number in part.facts.items() if name.startswith("num_")})
    assert counted["num_samples"] + counted["num_held_out"] == num_kept
    assert counted["num_drawn"] == draw.manifest.items.kept == drawn.total()
    assert counted["num_samples"] - counted["num_distinct"] == draw.manifest.items.dropped.get("not_drawn", 0)


def test_texts_are_known_by_what_they_say(store: Store) -> None:
    texts = {row["sample_id"]: row["text"] for row in rows_of(make(TEXTS, store), "read", "documents.parquet")}
    said = texts[sample_id("text 3")]
    exam = make_texts.bind("exam", TextsRecipe(texts=("never said", f"  {said.upper()}\n"), num_parts=1))
    listed = rows_of(draw_without(store, exam=exam), "hold_out", HELD_OUT_FILE)
    by_text = [row for row in listed if row["by"] == "text"]
    assert [row["sample_id"] for row in by_text] == [sample_id("text 3")]
    assert [row["held_out_sample_id"] for row in by_text] == [sample_id("text 1")]


def test_nothing_in_common_draws_the_same_as_nothing_held_out(store: Store) -> None:
    exam = make_texts.bind("exam", TextsRecipe(texts=("never said",) * 50, num_parts=1))
    others = {sample_id(f"text {number}") for number in range(50)}
    sources = {"pairs": KEPT, "chat": CHATS}
    recipe = MixRecipe(shares={"pairs": 2, "chat": 1})
    plain = make(mix_samples.bind("mix", recipe, sources), store)
    checked = make(mix_samples.bind("mix", recipe, sources, {"exam": exam}), store)
    assert not others & {row["sample_id"] for row in rows_of(plain, "draw", DRAW_FILE)}
    assert [part.content for part in plain.phase("draw")] == [part.content for part in checked.phase("draw")]
    assert rows_of(checked, "hold_out", HELD_OUT_FILE) == []


@pytest.mark.parametrize(
    ("sample", "by"),
    [
        (CaptionedPicture.of(pair(1, url="https://ONE.invalid/a.jpg#top", picture=b"q" * 32)), "url"),
        (CaptionedPicture.of(pair(1, url="http://two.invalid/", picture=b"p" * 32)), "picture"),
        (CaptionedPicture.of(pair(0, url="http://two.invalid/", picture=b"q" * 32)), "sample_id"),
        (CaptionedPicture.of(pair(1, url="http://two.invalid/", picture=b"q" * 32, caption="a red square")), None),
        (Chat.of(b"c" * 16, ({"role": "user", "content": "<image>"},), (pair(1, picture=b"p" * 32),)), "picture"),
        (PlainText.of(b"t" * 16, "What is\n  RED?"), "text"),
        (
            Chat.of(b"c" * 16, ({"role": "user", "content": "What is"}, {"role": "assistant", "content": "red?"}), ()),
            "text",
        ),
        (PlainText.of(b"t" * 16, "What is red"), None),
    ],
)
def test_each_mark_alone_holds_a_sample_out(sample, by) -> None:
    known = marks(CaptionedPicture.of(pair(0, caption="a red square")), PlainText.of(b"k" * 16, "what is red?"))
    assert [mark["kind"] for mark in known.find([sample]).values()] == ([by] if by else [])


def clip(number: int, *, video: bytes, frames: list[bytes], url: str = "", pts: bool = False) -> Clip:
    """A clip of a video with these frames, each named by a byte."""
    stored = tuple(
        StoredImage(sample_id(f"clip {number}"), one * 32, at, 1, "00000", at if pts else None, is_frame=True)
        for at, one in enumerate(frames)
    )
    return Clip(
        sample_id=sample_id(f"clip {number}"), url=url or f"films:{number}.mp4", reference="", caption="a red film",
        video_sha256=video * 32, start_seconds=0.0, end_seconds=9.0, width_px=64, height_px=64, frames=stored,
        frame_times=tuple(map(float, range(len(frames)))), part="00000", position=0,
    )  # fmt: skip


KNOWN_CLIP = CaptionedClip.of(clip(0, video=b"v", frames=[b"a", b"b", b"c"], url="http://one.invalid/a.mp4"))
ASKED = ({"role": "user", "content": "<video>"},)


@pytest.mark.parametrize(
    ("sample", "by"),
    [
        (CaptionedClip.of(clip(1, video=b"v", frames=[b"x", b"y"])), "video"),
        (Chat.of(b"c" * 16, ASKED, (), (clip(1, video=b"v", frames=[b"x"]),)), "video"),
        (CaptionedClip.of(clip(1, video=b"w", frames=[b"x", b"b", b"c", b"y"])), "frames"),
        (CaptionedClip.of(clip(1, video=b"w", frames=[b"x"], url="https://ONE.invalid/a.mp4#t=4")), "url"),
        (CaptionedClip.of(clip(1, video=b"w", frames=[b"x", b"b", b"y"])), None),  # one frame, such as a black one
        (CaptionedClip.of(clip(1, video=b"w", frames=[b"c", b"c", b"b"])), None),
    ],
)
def test_each_mark_of_a_clip_alone_holds_a_sample_out(sample, by) -> None:
    assert [mark["kind"] for mark in marks(KNOWN_CLIP).find([sample]).values()] == ([by] if by else [])


def test_clips_in_packets_are_known_by_their_packets() -> None:
    known = marks(CaptionedClip.of(clip(0, video=b"v", frames=[b"p"] * 4, pts=True)))
    same, other = (CaptionedClip.of(clip(1, video=b"w", frames=[name] * 2, pts=True)) for name in (b"p", b"q"))
    assert [mark["kind"] for mark in known.find([same]).values()] == ["frames"]
    assert known.find([other]) == {}


def test_marks_that_end_in_zero_bytes_are_told_apart() -> None:
    known = marks(PlainText.of(b"a" * 15 + b"\0", "one"))
    found = known.find([PlainText.of(b"a" * 15 + b"\0", "two"), PlainText.of(b"a" * 14 + b"\0\0", "three")])
    assert list(found) == [0]


def test_spellings_that_a_reader_takes_for_one() -> None:
    assert plain_url(" HTTPS://Host.Invalid/Path?q=1#x") == plain_url("http://host.invalid/Path?q=1")
    assert plain_url("\ufeffhttp://host.invalid/path\u200b\r\n") == plain_url("http://host.invalid/path")
    assert plain_url("http://host.invalid/path") != plain_url("http://host.invalid/Path")
    assert plain_text("Straße\u00a0\uff11 ") == plain_text("STRASSE 1")


def test_a_source_that_is_held_out_whole_is_said_to_be(store: Store) -> None:
    with pytest.raises(StageError, match="nothing can be drawn from source 'text': all of its samples are held out"):
        draw_without(store, exam=TEXTS)


def test_an_empty_exam_protects_from_nothing_and_is_refused(tmp_path: Path) -> None:
    empty = make_texts.bind("exam", TextsRecipe(num_texts=0, num_parts=1))
    with pytest.raises(StageError, match="held-out 'exam' .* holds no kept sample"):
        draw_without(Store(tmp_path / "store"), exam=empty)
