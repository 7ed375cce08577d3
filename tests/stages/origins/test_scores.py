"""Scores are read from any column that spells them; what is there and is no score is never taken for none."""

from typing import Any

import pyarrow as pa
import pytest

from stages.contract import StageError
from stages.origins.scores import (
    NSFW_TAGS,
    ItemScores,
    ScoreFields,
    ScoreLimits,
    ScoreName,
    UnreadableScoreError,
    check_score_columns,
    count_scores,
    fault_of_scores,
    not_a_score,
    read_scores,
    rows_of_scores,
    score_columns,
    score_fields,
)

BAD = "unreadable"


def read(values: Any, name: ScoreName = "punsafe") -> list[Any]:
    scores = read_scores(pa.table({"x": values}), "x", name)
    return [BAD if isinstance(score, UnreadableScoreError) else score for score in scores]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["0.25", "", None, " 1e-1 ", "nan", "inf", "LIKELY"], [0.25, None, None, 0.1, BAD, BAD, BAD]),
        ([0.5, float("nan"), None, float("inf")], [0.5, BAD, None, BAD]),
        ([1, 0, None], [1.0, 0.0, None]),
        ([True, None], [BAD, None]),
        ([[0.1], None, []], [BAD, None, BAD]),
        (pa.array([1.5, None], pa.float16()), [1.5, None]),
        (pa.array(["0.5", None, "x"]).dictionary_encode(), [0.5, None, BAD]),
        (pa.array([1, None], pa.decimal128(5, 2)), [1.0, None]),
        (pa.array([b"0.5"]), [BAD]),
        (pa.array(["0.5", "x"], pa.large_string()), [0.5, BAD]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_a_score_is_a_number_or_text_that_spells_one(values: Any, expected: list[Any]) -> None:
    assert read(values) == expected


def test_a_tag_is_one_of_three_or_a_boolean() -> None:
    assert read(["UNLIKELY", "unsure ", "NSFW", "", None, "0.3"], "nsfw_tag") == [0.0, 1.0, 2.0, None, None, BAD]
    assert read([False, True, None], "nsfw_tag") == [0.0, 2.0, None]
    assert read([0.3, None], "nsfw_tag") == [BAD, None]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["similarity", "punsafe", "pwatermark"], {name: name for name in ("similarity", "punsafe", "pwatermark")}),
        (["PUnsafe", "NSFW"], {"punsafe": "PUnsafe", "nsfw_tag": "NSFW"}),
        (
            ["nsfw_score_opennsfw2", "nsfw_score_gantman", "clip_similarity_vitl14", "clip_similarity_vitb32"],
            {"similarity": "clip_similarity_vitb32", "punsafe": "nsfw_score_gantman"},
        ),
        (["clip_l14_similarity_score"], {"similarity": "clip_l14_similarity_score"}),
        (["caption", "unsafe"], {}),
    ],
)
def test_columns_are_found_by_the_spellings_of_large_sets(found: list[str], expected: dict[str, str]) -> None:
    assert score_columns(found, ScoreFields()) == expected


def test_the_recipe_names_columns_before_any_spelling() -> None:
    fields = ScoreFields(score_columns={"punsafe": "mine", "pwatermark": ""})
    assert score_columns(["punsafe", "pwatermark", "mine"], fields) == {"punsafe": "mine"}


def test_each_limit_has_a_fault() -> None:
    limits = ScoreFields(min_similarity=0.3, worst_nsfw_tag="UNLIKELY").score_limits
    assert limits == ScoreLimits(similarity=0.3, nsfw_tag=0)
    assert fault_of_scores(ItemScores(similarity=0.29), limits) == "mismatched"
    assert fault_of_scores(ItemScores(punsafe=0.51), limits) == "unsafe"
    assert fault_of_scores(ItemScores(nsfw_tag=float(NSFW_TAGS.index("UNSURE"))), limits) == "unsafe"
    assert fault_of_scores(ItemScores(pwatermark=0.81), limits) == "watermarked"
    assert fault_of_scores(ItemScores(similarity=0.1, has_unreadable_score=True), limits) == "score_unreadable"
    assert fault_of_scores(ItemScores(similarity=0.3, punsafe=0.5, pwatermark=0.8, nsfw_tag=0.0), limits) is None


def test_every_item_is_counted_under_each_rule() -> None:
    table = pa.table({"punsafe": ["0.1", "x", None, "0.9"]})
    columns = score_columns(table.column_names, ScoreFields())
    rows = rows_of_scores(table, columns)
    counts = count_scores(rows, columns)
    assert counts["max_punsafe"] == {"applied to punsafe": 2, "unreadable": 1, "null": 1}
    assert all(sum(of.values()) == 4 for of in counts.values())
    assert [score_fields(row)["has_unreadable_score"] for row in rows] == [False, True, False, False]


def test_a_column_without_any_score_is_told_from_one_with_some() -> None:
    table = pa.table({"punsafe": ["LIKELY", None], "pwatermark": ["x", "0.1"], "similarity": [None, None]})
    assert not_a_score(table, "punsafe", "punsafe") == "'LIKELY'"
    assert not_a_score(table, "pwatermark", "pwatermark") is None
    assert not_a_score(table, "similarity", "similarity") is None


def test_what_is_set_and_missing_is_refused_in_words() -> None:
    with pytest.raises(StageError, match=r"worst_nsfw_tag='UNSURE' is set, and the table has no column of 'nsfw_tag'"):
        check_score_columns(["a"], ScoreFields(worst_nsfw_tag="UNSURE"), "the table")
    with pytest.raises(StageError, match=r"max_pwatermark=0.5 is set"):
        fields = ScoreFields(max_pwatermark=0.5, score_columns={"pwatermark": ""})
        check_score_columns(["pwatermark"], fields, "the table")
    check_score_columns(["a"], ScoreFields(), "the table")
