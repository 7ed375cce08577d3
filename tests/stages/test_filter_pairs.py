"""Each pair is judged by the recipe alone, and every pair that was downloaded gets a verdict."""

from typing import Any

import pyarrow as pa
import pytest

from stages.artifacts.kinds import VERDICTS_FILE
from stages.contract import StageError
from stages.filter_pairs import DropReason, FilterPairsRecipe, PairFacts, drop_reason, filter_pairs, pair_facts
from stages.formats.sample_table import read_table
from stages.toy_world.oddities import Oddity, oddity
from stages.toy_world.records import RowOddity, row_oddity

RECIPE = FilterPairsRecipe(max_pixels_px=1_000_000)


def facts(**changes: Any) -> PairFacts:
    return PairFacts(**{"width_px": 200, "height_px": 100, "caption": "a red dog", **changes})


CASES: list[tuple[DropReason | None, dict[str, Any]]] = [
    (None, {}),
    (None, {"width_px": 64, "height_px": 64}),
    (None, {"width_px": 300, "height_px": 100}),
    (None, {"width_px": 1000, "height_px": 1000}),
    (None, {"similarity": 0.2, "punsafe": 0.5, "pwatermark": 0.8}),
    (DropReason.TOO_SMALL, {"width_px": 63}),
    (DropReason.TOO_SMALL, {"width_px": 1, "height_px": 1}),
    (DropReason.TOO_SMALL, {"width_px": 6000, "height_px": 20}),
    (DropReason.TOO_LARGE, {"width_px": 1001, "height_px": 1000}),
    (DropReason.TOO_ELONGATED, {"width_px": 301}),
    (DropReason.TOO_ELONGATED, {"width_px": 100, "height_px": 301}),
    (DropReason.CAPTION_EMPTY, {"caption": ""}),
    (DropReason.CAPTION_EMPTY, {"caption": "... !!! --- ..."}),
    (DropReason.CAPTION_EMPTY, {"caption": "IMG_2041.JPG"}),
    (DropReason.CAPTION_TOO_SHORT, {"caption": "dog"}),
    (DropReason.CAPTION_TOO_LONG, {"caption": "a" * 4001}),
    (None, {"caption": "a photo named dog.jpg"}),
    (None, {"caption": "赤い犬がいる"}),
    (DropReason.MISMATCHED, {"similarity": 0.19}),
    (DropReason.UNSAFE, {"punsafe": 0.51}),
    (DropReason.WATERMARKED, {"pwatermark": 0.81}),
    (DropReason.SCORE_UNREADABLE, {"has_unreadable_score": True}),
]


@pytest.mark.parametrize(("reason", "changes"), CASES)
def test_a_pair_is_dropped_for_its_first_reason(reason: DropReason | None, changes: dict[str, Any]) -> None:
    assert drop_reason(facts(**changes), RECIPE) is reason


@pytest.mark.parametrize(
    ("scores", "reasons"),
    [
        (["0.31", "", None, " 0.1 "], [None, None, None, DropReason.MISMATCHED]),
        ([0.31, float("nan"), None, 0.1], [None, None, None, DropReason.MISMATCHED]),
        ([1, 0, None, 1], [None, DropReason.MISMATCHED, None, None]),
        (["LIKELY", "0.3", None, "x"], [DropReason.SCORE_UNREADABLE, None, None, DropReason.SCORE_UNREADABLE]),
        ([[0.1], None, [], [0.5]], [DropReason.SCORE_UNREADABLE, None, *[DropReason.SCORE_UNREADABLE] * 2]),
    ],
)
def test_scores_may_be_text_that_spells_numbers(scores: list[Any], reasons: list[DropReason | None]) -> None:
    columns = {"width_px": [100] * 4, "height_px": [100] * 4, "caption": ["a caption"] * 4, "similarity": scores}
    assert [drop_reason(pair, RECIPE) for pair in pair_facts(pa.table(columns))] == reasons


def test_every_reason_is_reached() -> None:
    assert {reason for reason, _ in CASES} - {None} == set(DropReason)


def test_the_recipe_decides() -> None:
    assert drop_reason(facts(), RECIPE.model_copy(update={"min_side_px": 101})) is DropReason.TOO_SMALL
    assert drop_reason(facts(punsafe=0.9), RECIPE.model_copy(update={"max_punsafe": 1.0})) is None


def test_each_downloaded_pair_gets_one_verdict(toy_pairs: Any) -> None:
    raw, kept, seed = toy_pairs.raw, toy_pairs.kept, toy_pairs.world.seed
    assert kept.manifest.items.total == raw.manifest.items.kept
    assert [part.part for part in kept.parts] == [part.part for part in raw.parts]
    found: dict[str, set[str | None]] = {}
    for part in kept.parts:
        samples = read_table(raw.read(raw.part(part.part).file("samples.parquet")))
        downloaded = [row for row in samples.to_pylist() if row["verdict"] == "kept"]
        verdicts = read_table(kept.read(part.file(VERDICTS_FILE))).to_pylist()
        assert [row["sample_id"] for row in verdicts] == [row["sample_id"] for row in downloaded]
        for row, judged in zip(downloaded, verdicts, strict=True):
            number = int(row["url"][-10:-4])
            assert (judged["reason"] is None) == (judged["verdict"] == "kept")
            found.setdefault(oddity(seed, number), set()).add(judged["reason"])
            found.setdefault(row_oddity(seed, number), set()).add(judged["reason"])
    assert found[Oddity.DOT] | found[Oddity.SLIVER] == {"too_small"}
    assert found[RowOddity.SPEECHLESS] == {"caption_empty"}
    assert found[RowOddity.UNSAFE] == {"unsafe"} and found[RowOddity.WATERMARKED] == {"watermarked"}
    assert found[RowOddity.MISMATCHED] == {"mismatched"}
    assert found[RowOddity.SPELLING] == {None}


def test_a_filter_that_keeps_nothing_fails_with_an_example(toy_pairs: Any, carry: Any) -> None:
    strict = filter_pairs.bind("strict", FilterPairsRecipe(min_caption_chars=3000), toy_pairs.raw_step)
    with pytest.raises(StageError, match=r"none were kept.*caption_too_short \(such as url 'http://toy.*', caption '"):
        carry(strict, toy_pairs.store)


def test_a_changed_field_makes_other_verdicts_of_the_same_download(toy_pairs: Any, carry: Any) -> None:
    strict = filter_pairs.bind("strict", FilterPairsRecipe(min_side_px=10_000, max_share_lost=1), toy_pairs.raw_step)
    made = carry(strict, toy_pairs.store)
    assert made.manifest.items.kept == 0
    assert made.manifest.items.dropped == {"too_small": toy_pairs.raw.manifest.items.kept}
    assert strict.fingerprint != toy_pairs.kept_step.fingerprint
