"""Each clip is judged by its row, its frames and earlier clips, and every clip that was cut gets a verdict."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cluster.local import make
from neo_model.inputs.frame_sampling import FrameSampling
from stages.artifacts.kinds import CLIPS_FILE, VERDICTS_FILE, KeptClips, RawClips
from stages.clip_filters.frame_measures import FrameMeasures
from stages.contract import Part, PartDraft, Source, StageContext, StageError, Step, stage
from stages.cut_clips import CutClipsRecipe, cut_clips
from stages.filter_clips import (
    ClipDropReason,
    ClipFacts,
    FilterClipsRecipe,
    clip_facts,
    filter_clips,
    measured_clip,
    reason_of_frames,
    reason_of_row,
)
from stages.formats.clip_reader import ClipReader, FrameReader, UndecodableClipError
from stages.formats.sample_table import read_table
from stages.origins.scores import read_scores
from stages.store.errors import StoreError
from stages.store.store import Store
from tests.worlds.clip_world import MOVING, ClipsRecipe, clip_id, make_clips, write_clips, write_films

RECIPE = FilterClipsRecipe()


def facts(**changes: Any) -> ClipFacts:
    plain = {"width_px": 320, "height_px": 180, "duration_seconds": 5.0, "num_frames": 4, "caption": "a red dog runs"}
    return ClipFacts(**{**plain, **changes})


def measures(**changes: Any) -> FrameMeasures:
    plain = {"luma": 90.0, "brightest": 200, "contrast": 120, "motion": 6.0, "flicker": 3.0, "hashes": (1, 2, 3)}
    return FrameMeasures(**{**plain, **changes})


ROWS: list[tuple[ClipDropReason | None, dict[str, Any]]] = [
    (None, {}),
    (None, {"width_px": 64, "height_px": 64, "duration_seconds": 1.0, "num_frames": 2}),
    (None, {"similarity": 0.2, "punsafe": 0.5, "pwatermark": 0.8}),
    (None, {"caption": "赤い犬が走る"}),
    (ClipDropReason.TOO_SMALL, {"height_px": 63}),
    (ClipDropReason.TOO_ELONGATED, {"width_px": 541}),
    (ClipDropReason.TOO_SHORT, {"duration_seconds": 0.99}),
    (ClipDropReason.TOO_LONG, {"duration_seconds": 3600.1}),
    (ClipDropReason.TOO_FEW_FRAMES, {"num_frames": 1}),
    (ClipDropReason.CAPTION_EMPTY, {"caption": ""}),
    (ClipDropReason.CAPTION_EMPTY, {"caption": "VID_0042.MP4"}),
    (ClipDropReason.CAPTION_TOO_SHORT, {"caption": "dog"}),
    (ClipDropReason.CAPTION_TOO_LONG, {"caption": "a" * 8001}),
    (ClipDropReason.CAPTION_REPETITIVE, {"caption": "thank you. " * 20}),
    (ClipDropReason.MISMATCHED, {"similarity": 0.19}),
    (ClipDropReason.UNSAFE, {"punsafe": 0.51}),
    (ClipDropReason.WATERMARKED, {"pwatermark": 0.81}),
    (ClipDropReason.SCORE_UNREADABLE, {"has_unreadable_score": True}),
]
FRAMES: list[tuple[ClipDropReason | None, dict[str, Any]]] = [
    (None, {}),
    (None, {"motion": None, "flicker": None}),
    (None, {"luma": 20.0, "brightest": 25, "contrast": 12, "motion": 0.5}),
    (ClipDropReason.BLACK, {"luma": 3.0, "brightest": 16}),
    (ClipDropReason.ONE_COLOUR, {"contrast": 11}),
    (ClipDropReason.TOO_DARK, {"luma": 19.9}),
    (ClipDropReason.STATIC, {"motion": 0.49}),
    (ClipDropReason.FLICKERING, {"flicker": 100.1}),
]


@pytest.mark.parametrize(("reason", "changes"), ROWS)
def test_a_clip_is_dropped_for_the_first_reason_of_its_row(
    reason: ClipDropReason | None, changes: dict[str, Any]
) -> None:
    assert reason_of_row(facts(**changes), RECIPE) is reason


@pytest.mark.parametrize(("reason", "changes"), FRAMES)
def test_a_clip_is_dropped_for_the_first_reason_of_its_frames(
    reason: ClipDropReason | None, changes: dict[str, Any]
) -> None:
    assert reason_of_frames(measures(**changes), RECIPE) is reason


def test_every_reason_is_reached() -> None:
    """The two that are not in the lists above are those of the stage's own tests below."""
    judged = {reason for reason, _ in (*ROWS, *FRAMES)} - {None}
    assert set(ClipDropReason) - judged == {ClipDropReason.NEAR_DUPLICATE, ClipDropReason.FRAMES_UNREADABLE}


def test_clips_for_conversations_need_no_caption() -> None:
    recipe = FilterClipsRecipe(min_caption_chars=0)
    assert reason_of_row(facts(caption=""), recipe) is None
    assert reason_of_row(facts(caption="..."), recipe) is ClipDropReason.CAPTION_EMPTY


@stage(number=1, recipe=ClipsRecipe, makes=RawClips)
def make_odd_clips(recipe: ClipsRecipe, *, ctx: StageContext) -> None:
    """One part of two films whose clips have scores, of which one is no number, and a clip that does not decode."""
    ctx.spread(write_odd_clips, over=[Part(name="00000", task={"films": ["walk", "jump"]})], phase="cut")


def write_odd_clips(part: Part, draft: PartDraft) -> None:
    import hashlib

    from stages.artifacts.kinds import SAMPLES_FILE
    from stages.formats.sample_table import write_table

    write_clips(part, draft, ClipsRecipe())
    path = draft.path(SAMPLES_FILE)
    table = read_table(path.read_bytes()).append_column("punsafe", pa.array(["0.1", "LIKELY", "0.9", None]))
    rows = table.to_pylist()
    start, size = rows[3]["frame_offsets"][1], rows[3]["frame_sizes_bytes"][1]
    tar = bytearray(draft.path(CLIPS_FILE).read_bytes())
    tar[start : start + size] = bytes(size)
    draft.path(CLIPS_FILE).write_bytes(tar)
    rows[3]["frame_sha256"][1] = hashlib.sha256(bytes(size)).digest()
    write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def verdicts(kept: KeptClips) -> dict[bytes, dict[str, Any]]:
    tables = [read_table(kept.read(part.file(VERDICTS_FILE))) for part in kept.parts]
    return {row["sample_id"]: row for table in tables for row in table.to_pylist()}


@pytest.fixture(scope="module")
def raw_step() -> Step[RawClips]:
    return make_clips.bind("clips", ClipsRecipe())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("clips"))


def test_each_clip_that_was_cut_gets_one_verdict(raw_step: Step[RawClips], store: Store) -> None:
    kept = make(filter_clips.bind("kept", RECIPE, raw_step), store)
    raw = make(raw_step, store)
    assert kept.manifest.items.total == raw.manifest.items.kept
    assert [part.part for part in kept.parts] == [part.part for part in raw.parts]
    judged = verdicts(kept)
    assert set(judged) == {clip.sample_id for clip in ClipReader(raw)}
    reasons = {name: {judged[clip_id(name, number)]["reason"] for number in range(2)} for name in MOVING}
    assert set().union(*reasons.values()) == {None}
    for name, reason in (("still", "static"), ("black", "black"), ("dark", "too_dark"), ("copy", "near_duplicate")):
        assert {judged[clip_id(name, number)]["reason"] for number in range(2)} == {reason}
    assert judged[clip_id("lone")]["reason"] == "too_few_frames"
    assert judged[clip_id("short")]["reason"] == "too_short"
    assert [judged[clip_id("copy", number)]["duplicate_of"] for number in range(2)] == [
        clip_id("walk", 0),
        clip_id("walk", 1),
    ]
    assert [clip.reference for clip in ClipReader(kept)] == [f"{name}.mp4" for name in MOVING for _ in range(2)]


def test_the_measures_stand_beside_the_verdicts(raw_step: Step[RawClips], store: Store) -> None:
    judged = verdicts(make(filter_clips.bind("kept", RECIPE, raw_step), store))
    walk, still, lone = (judged[clip_id(name)] for name in ("walk", "still", "lone"))
    assert walk["motion"] > 1 > 0.5 > still["motion"]
    assert walk["luma"] > 100 and walk["contrast"] > 50
    assert lone["luma"] is None and lone["motion"] is None


def test_clips_are_not_compared_where_the_recipe_says_so(raw_step: Step[RawClips], store: Store) -> None:
    kept = make(filter_clips.bind("all", FilterClipsRecipe(max_near_bits=None), raw_step), store)
    judged = verdicts(kept)
    assert judged[clip_id("copy")]["verdict"] == "kept"
    assert not kept.phase("compare")


def test_a_clip_does_not_give_way_to_one_that_is_dropped_itself(store: Store) -> None:
    """`walk` has no caption: its copy is the first of its kind that may stay."""
    clips = make_clips.bind("clips", ClipsRecipe(films=("walk", "copy"), mute=("walk",)))
    judged = verdicts(make(filter_clips.bind("kept", RECIPE, clips), store))
    assert judged[clip_id("walk")]["reason"] == "caption_empty"
    assert judged[clip_id("copy")]["reason"] is None


def test_scores_of_the_users_table_and_frames_that_do_not_decode(tmp_path: Path) -> None:
    store = Store(tmp_path)
    step = make_odd_clips.bind("clips", ClipsRecipe())
    judged = verdicts(make(filter_clips.bind("kept", RECIPE, step), store))
    reasons = [judged[clip_id(*which)]["reason"] for which in (("walk", 0), ("walk", 1), ("jump", 0), ("jump", 1))]
    assert reasons == [None, "score_unreadable", "unsafe", "frames_unreadable"]
    assert judged[clip_id("jump", 1)]["verdict"] == judged[clip_id("walk", 1)]["verdict"] == "failed"


def test_clips_in_packets_are_judged_as_those_in_frames(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    write_films(tmp_path / "films", ["walk", "copy", "still"])
    store, sources = Store(tmp_path / "store"), {"films": str(tmp_path / "films")}
    tables = []
    for kept_as in ("frames", "packets"):
        cutting = CutClipsRecipe(source=Source("films"), sampling=FrameSampling(num_frames=4), store=kept_as)
        filtering = FilterClipsRecipe(min_caption_chars=0)
        kept = make(filter_clips.bind("kept", filtering, cut_clips.bind("clips", cutting)), store, sources=sources)
        tables.append(read_table(kept.read(kept.parts[0].file(VERDICTS_FILE))).drop_columns(["sample_id"]).to_pylist())
    by_frames, by_packets = tables
    assert [row["reason"] for row in by_frames] == [None, "static", "near_duplicate"], "in order of their names"
    assert [{**row, "duplicate_of": None} for row in by_packets] == [{**row, "duplicate_of": None} for row in by_frames]


def test_packets_that_do_not_decode_fail(monkeypatch: pytest.MonkeyPatch, store: Store, raw_step: Any) -> None:
    reader = ClipReader(make(raw_step, store))

    def refuse(*_: object) -> list[bytes]:
        raise UndecodableClipError("damaged before it was stored")

    monkeypatch.setattr(FrameReader, "images_of", refuse)
    measured = measured_clip(reader.clip(clip_id("walk")), {}, reader, RECIPE)
    assert measured.own_reason == "frames_unreadable" and measured.measures is None


def test_a_frame_that_is_not_as_it_was_committed_is_damage_and_no_verdict(tmp_path: Path) -> None:
    store = Store(tmp_path)
    step = make_clips.bind("clips", ClipsRecipe(films=("walk", "jump")))
    raw = make(step, store)
    clip = ClipReader(raw).clip(clip_id("jump"))
    path = raw.store.folder / raw.part(clip.part).file(CLIPS_FILE).key
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[clip.frames[2].offset + 100] ^= 255
    path.write_bytes(data)
    with pytest.raises(StoreError, match="damaged"):
        make(filter_clips.bind("kept", RECIPE, step), store)


def test_a_filter_that_keeps_nothing_fails_with_an_example(raw_step: Step[RawClips], store: Store) -> None:
    strict = FilterClipsRecipe(min_duration_seconds=100.0)
    with pytest.raises(StageError, match=r"of 18 clips, none were kept.*too_short \(such as url 'http://films"):
        make(filter_clips.bind("strict", strict, raw_step), store)


def test_facts_know_scores_that_are_no_numbers(raw_step: Step[RawClips], store: Store) -> None:
    clip = ClipReader(make(raw_step, store)).clip(clip_id("walk"))
    ((unreadable,), (number,)) = (read_scores(pa.table({"x": [one]}), "x", "punsafe") for one in ("LIKELY", "0.5"))
    assert clip_facts(clip, {"punsafe": unreadable}).has_unreadable_score
    assert clip_facts(clip, {"punsafe": number, "similarity": None}).punsafe == 0.5
    assert clip_facts(clip, {}).num_frames == 4
