"""Of pairs that repeat each other the best one stays, and every other says which one is better and by what."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import ValidationError

from cluster.local import make
from stages.artifacts.kinds import VERDICTS_FILE, KeptPairs
from stages.collect_images import CollectImagesRecipe, collect_images
from stages.contract import Source, StageError, Step
from stages.dedup_pairs import DedupPairsRecipe, dedup_pairs
from stages.duplicates import parts_of_rows, slices
from stages.duplicates.criteria import DuplicateReason
from stages.duplicates.sketching import SketchFacts
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.formats.pairs import PairReader
from stages.formats.sample_table import read_table
from stages.read_questions import ReadQuestionsRecipe, read_questions
from stages.store.store import Store
from tests.worlds.copied_pairs import CopiesRecipe, make_copies, picture

LARGE, SMALL, OTHER = "coffee 300 JPEG 90", "coffee 200 JPEG 60", "astronaut 300 JPEG 90"
ANYTHING = DedupPairsRecipe(max_share_lost=1)
EXACTLY = DedupPairsRecipe(max_near_bits=None, max_share_lost=1)

Listed = tuple[str, str, str]


class Verdict(NamedTuple):
    """What became known of a pair: reason, and number of the pair that is better, counted through all parts."""

    reason: str | None
    of: int | None = None
    source: str | None = None


def copies(parts: Sequence[Sequence[Listed]], name: str = "copies") -> Step[Any]:
    return make_copies.bind(name, CopiesRecipe(parts=[list(part) for part in parts], name=name))


def judged(
    store: Store, recipe: DedupPairsRecipe, raw: Step[Any], earlier: Mapping[str, Step[Any]] | None = None
) -> list[Verdict]:
    """The verdict on each pair, in table order."""
    kept = make(dedup_pairs.bind("unique", recipe, raw, earlier), store)
    ids = numbers_of(make(raw, store), "")
    for name, step in (earlier or {}).items():
        ids |= numbers_of(make(step, store), name)
    rows = [row for part in kept.parts for row in read_table(kept.read(part.file(VERDICTS_FILE))).to_pylist()]
    assert len(rows) == kept.head.items.total == sum(source == "" for source, _ in ids.values())
    verdicts = []
    for row in rows:
        assert (row["reason"] is None) == (row["verdict"] == "kept")
        source, number = ids[row["duplicate_of"]] if row["duplicate_of"] else (None, None)
        assert (source or None) == row["duplicate_in"]
        verdicts.append(Verdict(row["reason"], number, row["duplicate_in"]))
    return verdicts


def numbers_of(source: Any, name: str) -> dict[bytes, tuple[str, int]]:
    return {pair.sample_id: (name, number) for number, pair in enumerate(PairReader(source))}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_by_each_criterion_the_largest_picture_stays(store: Store) -> None:
    near, plain = "camera 260 JPEG 80", "moon 200 JPEG 90"
    parts = [
        [("http://a.org/1", "one", SMALL), ("http://a.org/2", "two", OTHER)],
        [("https://A.org/1#top", "three", "rocket 240 JPEG 90"), ("http://b.org/2", "four", OTHER)],
        [("http://c.org/1", "five", LARGE), ("http://c.org/2", "SIX  x", near), ("http://c.org/3", "six x", plain)],
    ]
    recipe = DedupPairsRecipe(max_near_bits=4, max_pairs_per_caption=1, max_share_lost=1)
    assert judged(store, recipe, copies(parts)) == [
        Verdict("duplicate_url", 2),  # also near to pair 4: the surest reason is recorded
        Verdict(None),
        Verdict(None),
        Verdict("duplicate_picture", 1),
        Verdict(None),
        Verdict(None),
        Verdict("duplicate_caption", 5),
    ]


def test_of_equally_large_pictures_the_first_stays(store: Store) -> None:
    parts = [[("http://a.org/1", "one", LARGE)], [("http://a.org/1", "two", OTHER)]]
    same_size = [[(url, caption, "red 40 PNG 1") for url, caption, _ in part] for part in parts]
    assert judged(store, EXACTLY, copies(same_size)) == [Verdict(None), Verdict("duplicate_url", 0)]


def test_what_is_switched_off_is_not_compared(store: Store) -> None:
    parts = [[("http://a.org/1", "same", LARGE), ("http://a.org/1", "same", LARGE), ("http://a.org/2", "same", LARGE)]]
    raw = copies(parts)
    by_url = judged(store, DedupPairsRecipe(same_picture=False, max_near_bits=None, max_share_lost=1), raw)
    assert [one.reason for one in by_url] == [None, "duplicate_url", None]
    by_picture = judged(store, DedupPairsRecipe(same_url=False, max_near_bits=None, max_share_lost=1), raw)
    assert [one.reason for one in by_picture] == [None, "duplicate_picture", "duplicate_picture"]
    recipe = DedupPairsRecipe(
        same_url=False, same_picture=False, max_near_bits=None, max_pairs_per_caption=2, max_share_lost=1
    )
    assert judged(store, recipe, raw) == [Verdict(None), Verdict(None), Verdict("duplicate_caption", 0)]
    with pytest.raises(ValidationError, match="no pair is compared with another: set same_url"):
        DedupPairsRecipe(same_url=False, same_picture=False, max_near_bits=None)


def test_looks_are_told_from_content(store: Store) -> None:
    parts = [
        [("http://a/1", "a", LARGE), ("http://a/2", "b", SMALL), ("http://a/3", "c", "coffee 280 PNG 1")],
        [("http://a/4", "d", "coffee 296 WEBP 70"), ("http://a/5", "e", "coffee 298 JPEG 85 turned")],
        [("http://a/6", "f", OTHER), ("http://a/7", "g", "red 40 PNG 1"), ("http://a/8", "h", "blue 50 PNG 1")],
        [("http://a/9", "i", "broken 40 JPEG 1")],
    ]
    near = Verdict("near_duplicate_picture", 4)
    assert judged(store, ANYTHING, copies(parts)) == [
        *(Verdict(None), near, near, near, Verdict("near_duplicate_picture", 0)),  # 1 to 4 have one hash
        *(Verdict(None), Verdict(None), Verdict(None)),  # plain colours are not told apart by their looks
        Verdict("picture_unreadable"),
    ]


def test_an_earlier_source_wins_and_is_not_decoded_again(store: Store) -> None:
    first = copies([[("http://a/1", "a", SMALL), ("http://a/2", "b", SMALL), ("http://a/3", "c", OTHER)]], "first")
    unique = dedup_pairs.bind("unique_first", ANYTHING, first)
    second = copies([[("http://b/1", "a", LARGE), ("http://a/3", "b", "rocket 300 JPEG 90")]], "second")
    assert judged(store, ANYTHING, second, {"first": unique}) == [
        Verdict("near_duplicate_picture", 0, "first"),
        Verdict("duplicate_url", 1, "first"),  # the second pair that `unique` kept
    ]
    made = make(dedup_pairs.bind("again", ANYTHING, second, {"first": unique}), store)
    facts = {record.part: SketchFacts.of(record) for record in made.manifest.parts if record.phase == "sketch"}
    assert (facts["first-00000"].num_copied, facts["sketch_00000"].num_copied) == (2, 0)
    with_raw = judged(store, ANYTHING, second, {"raw_first": first})
    assert [one.reason for one in with_raw] == ["near_duplicate_picture", "duplicate_url"]


def test_an_earlier_source_must_be_another_one(store: Store) -> None:
    raw = copies([[("http://a/1", "a", LARGE)]])
    with pytest.raises(StageError, match="the earlier source 'same' is RawPairs.*is judged itself"):
        make(dedup_pairs.bind("unique", ANYTHING, raw, {"same": raw}), store)
    with pytest.raises(StageError, match="the earlier source 'No-Name' needs a name"):
        make(dedup_pairs.bind("unique", ANYTHING, raw, {"No-Name": copies([[]], "other")}), store)


def test_pairs_that_a_filter_dropped_are_not_compared(store: Store) -> None:
    parts = [[("http://a/1", "a coffee", LARGE), ("http://a/1", "red coffee", SMALL), ("http://a/3", "none", OTHER)]]
    filtered = filter_pairs.bind("kept", FilterPairsRecipe(max_aspect=1.4, min_caption_chars=3), copies(parts))
    kept = make(filtered, store)
    assert kept.head.items.dropped == {"too_elongated": 2}
    assert make(dedup_pairs.bind("unique", ANYTHING, filtered), store).head.items.total == 1
    all_shapes = filter_pairs.bind("all", FilterPairsRecipe(min_caption_chars=6, max_share_lost=1), copies(parts))
    unique = make(dedup_pairs.bind("unique", ANYTHING, all_shapes), store)
    assert (unique.head.items.kept, unique.head.items.dropped) == (1, {"duplicate_url": 1})
    (pair,) = PairReader(unique)
    assert (pair.caption, pair.position) == ("a coffee", 0)
    assert PairReader(unique).image(pair.sample_id) == picture(LARGE)


def test_parts_and_sources_without_pairs_are_no_trouble(store: Store) -> None:
    nothing = copies([[]], "nothing")
    assert judged(store, ANYTHING, nothing) == []
    some = copies([[], [("http://a/1", "a", LARGE)], []])
    assert judged(store, ANYTHING, some, {"nothing": nothing}) == [Verdict(None)]


def test_captions_that_are_alike_repeat_each_other(store: Store) -> None:
    long = "a small red cat sits on the old wooden table in front of the window and looks at the birds outside"
    parts = [[("http://a/1", long, OTHER), ("http://a/2", f"{long}!!", LARGE), ("http://a/3", f"{long} today", SMALL)]]
    parts += [[("http://a/4", "a blue dog", "rocket 90 JPEG 90"), ("http://a/5", "", "moon 90 JPEG 90")]]
    recipe = DedupPairsRecipe(max_near_bits=None, min_caption_likeness=0.7, max_share_lost=1)
    assert judged(store, recipe, copies(parts)) == [
        Verdict(None),
        Verdict("near_duplicate_caption", 0),
        Verdict("near_duplicate_caption", 0),
        Verdict(None),
        Verdict(None),
    ]


QUESTION = "How many of the red cats that sit on the wooden table look at the birds outside?"


def test_pairs_of_a_benchmark_are_dropped_and_said_by_what(store: Store, tmp_path: Path) -> None:
    encoded = base64.b64encode(picture(LARGE)).decode()
    lines = ["index\tquestion\tanswer\timage", f"1\t{QUESTION}\tthree\t{encoded}"]
    (tmp_path / "bench.tsv").write_text("\n".join(lines) + "\n")
    sources = {"bench": str(tmp_path / "bench.tsv")}
    pictures = collect_images.bind("pictures", CollectImagesRecipe(source=Source("bench")))
    questions = read_questions.bind("questions", ReadQuestionsRecipe(source=Source("bench")), pictures)
    heldout = copies([[("http://h/1", "x", "chelsea 300 JPEG 90")]], "heldout")
    parts = [
        [("http://a/1", "a", LARGE), ("http://a/2", "b", SMALL), ("http://a/3", f"so: {QUESTION.upper()}", OTHER)],
        [("https://H/1#x", "d", "rocket 200 JPEG 90"), ("http://a/5", "red cats that sit on it", "moon 99 JPEG 90")],
        [("http://a/6", "f", "chelsea 300 JPEG 90"), ("http://a/7", "g", "chelsea 280 JPEG 70")],
    ]
    step = dedup_pairs.bind("unique", ANYTHING, copies(parts), None, {"mmb": questions, "own": heldout})
    made = make(step, store, sources=sources)
    rows = [row for part in made.parts for row in read_table(made.read(part.file(VERDICTS_FILE))).to_pylist()]
    assert {row["reason"] for row in rows if row["benchmark"]} == {"in_benchmark"}
    assert [(row["benchmark"], row["benchmark_by"]) for row in rows] == [
        *(("mmb", "picture"), ("mmb", "looks"), ("mmb", "words")),
        *(("own", "url"), (None, None)),
        *(("own", "picture"), ("own", "looks")),
    ]
    assert (made.head.items.kept, made.head.items.dropped) == (1, {"in_benchmark": 6})
    assert made.head.rules == {
        "benchmark mmb": {"dropped by looks": 1, "dropped by picture": 1, "dropped by words": 1},
        "benchmark own": {"dropped by looks": 1, "dropped by picture": 1, "dropped by url": 1},
    }
    by_content = DedupPairsRecipe(max_near_bits=None, min_shared_words=None, same_url=False, max_share_lost=1)
    step = dedup_pairs.bind("unique", by_content, copies(parts), None, {"mmb": questions, "own": heldout})
    assert make(step, store, sources=sources).head.items.dropped == {"in_benchmark": 2}


def test_a_benchmark_that_holds_nothing_is_refused(store: Store) -> None:
    raw = copies([[("http://a/1", "a", LARGE)]])
    with pytest.raises(StageError, match="the benchmark 'empty' .* holds nothing; see why: neo show"):
        make(dedup_pairs.bind("unique", ANYTHING, raw, None, {"empty": copies([[]], "empty")}), store)


def many(num_pairs: int, num_parts: int) -> list[list[Listed]]:
    """Pairs of few URLs and pictures, so that most repeat others."""
    listed = []
    for number in range(num_pairs):
        url = f"http://a/{number * 7 % (num_pairs // 2)}"
        listed.append((url, f"{number % 5}", f"moon {40 + 8 * (number % 4)} JPEG {50 + number % 30}"))
    return [listed[part::num_parts] for part in range(num_parts)]


@pytest.mark.parametrize("recipe", [ANYTHING, DedupPairsRecipe(max_pairs_per_caption=3, max_share_lost=1)])
def test_slices_and_groups_change_no_verdict(
    recipe: DedupPairsRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = many(60, 5)
    whole = make(dedup_pairs.bind("unique", recipe, copies(parts)), Store(tmp_path / "whole"))
    monkeypatch.setattr(parts_of_rows, "ROWS_PER_GROUP", 20)
    monkeypatch.setattr(slices, "RECORDS_PER_SLICE", 7)
    sliced = make(dedup_pairs.bind("unique", recipe, copies(parts)), Store(tmp_path / "sliced"))
    assert len(sliced.phase("join")) > 20 > len(whole.phase("join"))
    assert [record.content for record in sliced.parts] == [record.content for record in whole.parts]


def test_a_chain_of_better_pairs_ends_at_one_that_is_kept(store: Store) -> None:
    made = make(dedup_pairs.bind("unique", ANYTHING, copies(many(60, 5))), store)
    rows = [row for part in made.parts for row in read_table(made.read(part.file(VERDICTS_FILE))).to_pylist()]
    better = {row["sample_id"]: row["duplicate_of"] for row in rows}
    for sample_id, found in better.items():
        seen = {sample_id}
        while found is not None:
            assert found not in seen
            seen.add(found)
            found = better[found]  # noqa: PLW2901 - along the chain
    assert made.head.items.kept == sum(one is None for one in better.values())


def test_every_reason_is_reached() -> None:
    text = Path(__file__).read_text() + Path(__file__).with_name("test_dedup_texts.py").read_text()
    assert {reason for reason in DuplicateReason if f'"{reason.value}"' not in text} == set()


def test_a_step_that_drops_nearly_all_fails_with_an_example(store: Store) -> None:
    parts = [[("http://a/1", f"caption {number}", LARGE) for number in range(10)]]
    with pytest.raises(
        StageError, match=r"9 duplicate_url \(such as url 'http://a/1', caption 'caption 1'.*duplicate_of"
    ):
        make(dedup_pairs.bind("unique", DedupPairsRecipe(), copies(parts)), store)


def test_the_kind_is_that_of_a_filter() -> None:
    assert dedup_pairs.makes is KeptPairs
