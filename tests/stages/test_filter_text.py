"""Documents are judged by published rules in FineWeb's order; those that lost lines are read without them."""

from pathlib import Path
from typing import Any

import pytest

from cluster.local import make
from stages.artifacts.kinds import COLUMNS_FILE, KeptTexts
from stages.contract import StageError, Step
from stages.filter_text import FilterTextRecipe, filter_text, judge_text
from stages.formats.judged.texts import TextReader
from stages.formats.sample_sources import open_source
from stages.formats.sample_table import read_table
from stages.mix_samples import MixRecipe, mix_samples
from stages.store.store import Store
from stages.text_quality.c4 import C4Rules
from stages.text_quality.fineweb import FineWebQuality
from stages.text_quality.gopher import GopherQuality, GopherRepetition
from stages.text_quality.reasons import DocumentReason
from tests.worlds.mixture_world import TextsRecipe, make_texts
from tests.worlds.text_world import document

GERMAN = "Der alte Lehrer des Dorfes geht jeden Morgen über die Brücke, und sein Hund läuft ihm voraus. " * 20
GOOD = document(15)
NUM_DOCUMENTS = 120
TEXTS = (GERMAN, "12 - 34 - 56", *(document(seed) for seed in range(2, NUM_DOCUMENTS)))
RAW = make_texts.bind("texts", TextsRecipe(texts=TEXTS, num_parts=3))
KEPT = filter_text.bind("kept", FilterTextRecipe(), RAW)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def verdicts(step: Step[KeptTexts], store: Store) -> dict[bytes, dict[str, Any]]:
    made = make(step, store)
    tables = [read_table(made.read(part.file("verdicts.parquet"))) for part in made.parts]
    return {row["sample_id"]: row for table in tables for row in table.to_pylist()}


def texts(artifact: Any) -> dict[bytes, str]:
    reader = TextReader(artifact)
    return {sample_id: text for part in reader.parts for sample_id, text in reader.texts_of(part)}


def test_each_document_gets_the_verdict_of_the_rules(store: Store) -> None:
    judged, before, recipe = verdicts(KEPT, store), texts(make(RAW, store)), FilterTextRecipe()
    assert judged.keys() == before.keys() and len(judged) == NUM_DOCUMENTS
    for sample_id, row in judged.items():
        expected = judge_text(before[sample_id], recipe)
        assert row["reason"] == (expected.reason and expected.reason.value)
        assert (row["verdict"] == "kept") == (row["reason"] is None)
        assert row["language"] == (expected.language and expected.language.code)
    reasons = {row["reason"] for row in judged.values()}
    assert len(reasons) > 8 and {None, "language", "language_unknown"} <= reasons
    items = make(KEPT, store).manifest.items
    assert items.total == NUM_DOCUMENTS and 10 < items.kept < 100


def test_texts_that_lost_lines_are_stored_and_read_without_them(store: Store) -> None:
    kept, before = make(KEPT, store), texts(make(RAW, store))
    after = texts(kept)
    changed = {sample_id for sample_id, text in after.items() if text != before[sample_id]}
    stored = [read_table(kept.read(part.file(COLUMNS_FILE)))["text"] for part in kept.parts]
    assert sum(len(column) - column.null_count for column in stored) == len(changed) > 0
    assert all("cookies" not in after[one] and "JavaScript" not in after[one] for one in changed)
    assert any("cookies" in before[one] or "Menu" in before[one] for one in changed)
    removed: dict[str, int] = {}
    for part in kept.parts:
        for why, number in part.facts["removed_lines"].items():
            removed[why] = removed.get(why, 0) + number
    assert {"few_words", "policy"} <= removed.keys() and min(removed.values()) > 0


def test_what_is_mixed_and_packed_are_the_kept_texts(store: Store) -> None:
    kept = make(KEPT, store)
    source = open_source(kept)
    assert {one.sample_id: one.text for part in source.num_kept for one in source.samples(part)} == texts(kept)
    draw = make(mix_samples.bind("mix", MixRecipe(shares={"text": 1}), {"text": KEPT}), store)
    assert draw.manifest.items.kept == kept.manifest.items.kept


def test_a_second_filter_sees_what_the_first_one_left(store: Store) -> None:
    lenient = FilterTextRecipe(repetition=None, quality=None, c4=None, fineweb=None, languages=())
    again = filter_text.bind("again", lenient, KEPT)
    assert texts(make(again, store)) == texts(make(KEPT, store))
    twice = filter_text.bind("twice", FilterTextRecipe(quality=GopherQuality(min_words=400)), KEPT)
    left, first = texts(make(twice, store)), texts(make(KEPT, store))
    assert left.keys() < first.keys() and all(left[one] == first[one] for one in left)


def test_without_c4_no_text_changes(store: Store) -> None:
    kept = make(filter_text.bind("whole", FilterTextRecipe(c4=None), RAW), store)
    before = texts(make(RAW, store))
    assert all(text == before[one] for one, text in texts(kept).items())
    assert all(part.facts["num_changed"] == 0 for part in kept.parts)


@pytest.mark.parametrize(
    ("recipe", "text", "reason"),
    [
        (FilterTextRecipe(), GOOD, None),
        (FilterTextRecipe(), GERMAN, DocumentReason.LANGUAGE),
        (FilterTextRecipe(languages=("de",), repetition=None, quality=None, c4=None, fineweb=None), GERMAN, None),
        (FilterTextRecipe(languages=("de",)), GOOD, DocumentReason.LANGUAGE),
        (FilterTextRecipe(min_language_score=1.0), "the dog sat on mat", DocumentReason.LANGUAGE),
        (FilterTextRecipe(), "1 2 3", DocumentReason.LANGUAGE_UNKNOWN),
        (FilterTextRecipe(languages=(), repetition=None), "1 2 3", DocumentReason.TOO_FEW_WORDS),
        (FilterTextRecipe(), GOOD + "\n\n" + GOOD, DocumentReason.REPEATED_PARAGRAPHS),
        (FilterTextRecipe(repetition=None), GOOD + "\n\n" + GOOD, DocumentReason.REPEATED_CHARS),
        (FilterTextRecipe(), GOOD + "\nvoid f() { return a thing; }", DocumentReason.CURLY_BRACKET),
        (FilterTextRecipe(c4=None), GOOD + "\nvoid f() { return a thing; }", None),
        (FilterTextRecipe(c4=C4Rules(banned_words=("the", "zebra"))), GOOD, DocumentReason.BANNED_WORD),
        (FilterTextRecipe(fineweb=FineWebQuality(short_line_chars=5000)), GOOD, DocumentReason.TOO_MANY_SHORT_LINES),
        (FilterTextRecipe(repetition=GopherRepetition(max_frequent_2_gram=0)), GOOD, DocumentReason.FREQUENT_2_GRAM),
    ],
)
def test_rules_are_asked_in_order_and_may_be_left_out(
    recipe: FilterTextRecipe, text: str, reason: DocumentReason | None
) -> None:
    assert judge_text(text, recipe).reason is reason


def test_a_language_that_nobody_knows_is_refused_before_anything_is_read(store: Store) -> None:
    wrong = filter_text.bind("wrong", FilterTextRecipe(languages=("en", "english")), RAW)
    with pytest.raises(StageError, match=r"knows no language 'english'; `languages` takes codes among .*en, "):
        make(wrong, store)


def test_a_filter_that_drops_nearly_all_fails_with_an_example(store: Store) -> None:
    strict = filter_text.bind("strict", FilterTextRecipe(languages=("de",), repetition=None), RAW)
    with pytest.raises(StageError, match=r"of 120 documents.*language \(such as text '.*language 'en'"):
        make(strict, store)


def test_every_reason_has_a_test_that_reaches_it() -> None:
    """The rules' own tests reach each: this one holds the list together with where."""
    folder = Path(__file__).parent
    files = [Path(__file__), *(folder / f"text_quality/test_{name}.py" for name in ("c4", "fineweb", "gopher"))]
    text = "".join(file.read_text() for file in files)
    assert [reason.name for reason in DocumentReason if f"DocumentReason.{reason.name}" not in text] == []
