"""Every stage that judges draws what it did, with the pictures of its items and of the better ones they repeat."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cluster.local import make
from stages.artifacts.artifact import Artifact
from stages.artifacts.profiles import profile_files
from stages.caption_pairs import CaptionPairsRecipe, caption_pairs
from stages.contract import Source, Step
from stages.dedup_pairs import DedupPairsRecipe, dedup_pairs
from stages.dedup_texts import DedupTextsRecipe, dedup_texts
from stages.filter_clips import FilterClipsRecipe, filter_clips
from stages.filter_text import FilterTextRecipe, filter_text
from stages.formats.clip_reader import ClipReader
from stages.formats.clips import clip_schema
from stages.formats.pairs import PairReader
from stages.profiles.example_pictures import BetterPictures, ClipPictures, PairPictures, PartOfRows
from stages.profiles.profile import Example, Profile
from stages.score_pairs import ScorePairsRecipe, score_pairs
from stages.store.store import Store
from tests.worlds.caption_server import Answer, answered, caption_server
from tests.worlds.clip_models import write_clip
from tests.worlds.clip_world import ClipsRecipe, make_clips
from tests.worlds.copied_pairs import WHOLE, CopiesRecipe, make_copies, picture
from tests.worlds.mixture_world import PairsRecipe, TextsRecipe, make_pairs, make_texts
from tests.worlds.text_world import document

PAIRS = make_pairs.bind("raw", PairsRecipe(num_pairs=24, num_parts=2, decodable=True))
CLIPS = make_clips.bind("clips", ClipsRecipe(is_decoded=False))
TEXTS = make_texts.bind("texts", TextsRecipe(texts=(*map(document, range(2, 40)), document(2), "12 - 34"), num_parts=2))


def copies(name: str, *descriptions: str) -> Step[Any]:
    listed = [(f"http://{name}.example/{number}.jpg", f"{one}?", one) for number, one in enumerate(descriptions)]
    return make_copies.bind(name, CopiesRecipe(parts=[listed[:3], listed[3:]], name=name))


OLD = copies("old", *(f"{name} 300 JPEG 90" for name in WHOLE))
NEW = copies("new", "coffee 200 JPEG 60", "red 40 PNG 1", "moon 300 JPEG 80", "rocket 200 JPEG 60")


def drawn(artifact: Artifact) -> tuple[set[str], Profile]:
    files = {entry.name: artifact.read(entry) for entry in profile_files(artifact)}
    profile = Profile.parse(files.pop("profile.json"))
    return {name.removesuffix(".png") for name in files}, profile


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_duplicates_are_shown_beside_the_better_ones(store: Store) -> None:
    unique = make(dedup_pairs.bind("unique", DedupPairsRecipe(), NEW, {"old": OLD}), store)
    names, profile = drawn(unique)
    assert names == {"charts", "funnel", "sheet_dropped", "sheet_kept"}
    assert profile.names["duplicate_in"].keys() == {"old"}
    (examples,) = (examples for reason, examples in profile.examples.items() if reason)
    raw, old = make(NEW, store), make(OLD, store)
    stretches = [PartOfRows(0, "", "00000"), PartOfRows(3, "", "00001"), PartOfRows(4, "old", "00000")]
    better_of = BetterPictures({"": raw, "old": old}, [*stretches, PartOfRows(7, "old", "00001")])
    shown = {one.text: (PairPictures(PairReader(raw).images)(one), better_of(one)) for one in examples}
    assert shown == {
        f"{name} {kind}?": (picture(f"{name} {kind}"), picture(f"{name} 300 JPEG 90"))
        for name, kind in (("coffee", "200 JPEG 60"), ("moon", "300 JPEG 80"), ("rocket", "200 JPEG 60"))
    }
    (kept,) = profile.examples[""]
    assert better_of(kept) is None


def test_clips_are_shown_by_their_middle_frames(store: Store) -> None:
    kept = make(filter_clips.bind("kept", FilterClipsRecipe(max_share_lost=1), CLIPS), store)
    names, profile = drawn(kept)
    assert names >= {"charts", "funnel", "sheet_dropped", "sheet_kept"}
    assert set(profile.examples) == {"", *kept.head.items.dropped, *kept.head.items.failed}
    reader = ClipReader(make(CLIPS, store))
    middle_of, read = ClipPictures(reader.raw), []
    with pytest.MonkeyPatch.context() as patch:
        read_table = ClipReader.read_table

        def counted(self: ClipReader, part: str, columns: Any = None) -> Any:
            read.append((part, columns))
            return read_table(self, part, columns)

        patch.setattr(ClipReader, "read_table", counted)
        ordered = sorted((one for ones in profile.examples.values() for one in ones), key=lambda one: one.part)
        for example in ordered:
            middle_of(example)
    assert read == [(part, clip_schema().names) for part in sorted({one.part for one in ordered})]
    assert len(ordered) > len(read) and len(pickle.dumps(middle_of)) == len(pickle.dumps(ClipPictures(reader.raw)))
    for example in profile.examples[""]:
        clip = reader.clip(bytes.fromhex(example.sample_id))
        assert reader.clip_at(example.part, example.row) == clip
        frame = ClipPictures(reader.raw)(example)
        assert frame == reader.frames.images_of(clip.frames)[len(clip.frames) // 2]


@pytest.mark.parametrize(
    "step",
    [
        filter_text.bind("kept", FilterTextRecipe(max_share_lost=1), TEXTS),
        dedup_texts.bind("unique", DedupTextsRecipe(), TEXTS),
    ],
    ids=lambda step: step.stage.name,
)
def test_documents_are_shown_by_their_beginnings(step: Step[Any], store: Store) -> None:
    names, profile = drawn(make(step, store))
    assert names == {"charts", "funnel", "sheet_dropped", "sheet_kept"}
    assert profile.bins["text_chars"]["kept"].total() == make(step, store).head.items.kept
    assert all(example.text and example.image is None for examples in profile.examples.values() for example in examples)


def test_scores_are_counted_under_the_names_that_charts_know(store: Store, tmp_path: Path) -> None:
    recipe = ScorePairsRecipe(clip=Source("toy_clip"), similarity_column="our_score")
    sources: Mapping[str, str] = {"toy_clip": str(write_clip(tmp_path / "clip"))}
    scored = make(score_pairs.bind("scores", recipe, PAIRS), store, sources=sources)
    names, profile = drawn(scored)
    assert names == {"charts", "funnel", "sheet_kept"}
    assert profile.bins["similarity"]["kept"].total() == scored.head.items.kept > 0
    assert all("similarity" in one.values for one in profile.examples[""])


def test_captions_are_shown_with_those_before(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEO_CAPTION_CACHE", str(tmp_path / "captions.sqlite"))

    def answer(words: str, before: int) -> Answer:
        return answered(f"a new caption in place of {words}")

    with caption_server(answer) as server:
        recipe = CaptionPairsRecipe(model="toy-vl", prompt="{caption}", endpoint=server.address)
        captioned = make(caption_pairs.bind("captions", recipe, PAIRS), store)
    names, profile = drawn(captioned)
    assert names == {"charts", "funnel", "sheet_kept"}
    assert profile.names["caption_by"] == {"toy-vl": {"kept": captioned.head.items.kept}}
    for example in profile.examples[""]:
        assert example.text == f"a new caption in place of {example.before}"


def test_an_example_without_a_picture_has_none(store: Store) -> None:
    nothing = Example(rank="0", sample_id="00", role="failed", reason="gone", part="00000", row=0, text="")
    assert PairPictures(PairReader(make(PAIRS, store)).images)(nothing) is None
