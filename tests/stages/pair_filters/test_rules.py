"""Rules are about the columns of their own row alone, are checked before they run, and say how they were applied."""

from typing import Any

import pyarrow as pa
import pytest

from stages.contract import StageError
from stages.formats.sample_table import Verdict, verdict_columns
from stages.origins.scores import ScoreFields, rows_of_scores, score_columns
from stages.pair_filters.rules import apply_rules, check_against, check_syntax, reasons_of_rules, rule_table

TABLE = pa.table(
    {
        "caption": ["A stock Photo", "x", None, "a dog"],
        "similarity": [0.1, None, float("nan"), 0.9],
        "width_px": pa.array([1, 2, 3, 4], pa.int32()),
        "spelled": ["1", "b", None, "3"],
        "meta": [{"license": "cc0", "n": 1}, {"license": None, "n": 2}, None, {"license": "by", "n": 3}],
        "taken": pa.array([0, 1, None, 3], pa.timestamp("s", tz="Europe/Berlin")),
        "Bytes": [b"a", b"\xff", None, b""],
        "half": pa.array([0.5, None, float("inf"), 1.0], pa.float16()),
    }
)


def states(expression: str, table: pa.Table = TABLE) -> dict[str, int]:
    check_syntax({"mine": expression})
    check_against({"mine": expression}, table, "the table")
    return apply_rules({"mine": expression}, table, "the table").counts["rules.mine"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("caption ILIKE '%stock%'", {"met": 1, "not met": 2, "null": 1}),
        ("similarity < 0.28", {"met": 1, "not met": 1, "null": 1, "unreadable": 1}),
        ("similarity IS NULL", {"met": 1, "not met": 2, "unreadable": 1}),
        ("samples.WIDTH_px BETWEEN 2 AND 3", {"met": 2, "not met": 2}),
        ("TRY_CAST(spelled AS DOUBLE) > 1", {"met": 1, "not met": 1, "null": 2}),
        ("meta.license IN ('cc0', 'mark')", {"met": 1, "not met": 1, "null": 2}),
        ("year(taken) = 1970 AND NOT length(caption) > 4", {"met": 1, "not met": 2, "null": 1}),
        ("CASE WHEN width_px = 1 THEN true ELSE false END", {"met": 1, "not met": 3}),
        ("coalesce(similarity, 1) < 0.5 -- a comment", {"met": 1, "not met": 2, "unreadable": 1}),
        ("regexp_matches(lower(caption), 'stock|dog')", {"met": 2, "not met": 1, "null": 1}),
        ("split_part(caption, ' ', 1) = 'A'", {"met": 1, "not met": 2, "null": 1}),
        ("bytes = '\\xFF'::BLOB", {"met": 1, "not met": 2, "null": 1}),
        ("age(taken, TIMESTAMP '1969-12-31') >= INTERVAL 1 DAY", {"met": 3, "null": 1}),
        ("half >= 0.5", {"met": 2, "null": 1, "unreadable": 1}),
        ("true", {"met": 4}),
    ],
)
def test_an_expression_is_met_not_met_null_or_unreadable_row_by_row(expression: str, expected: dict[str, int]) -> None:
    assert states(expression) == expected


@pytest.mark.parametrize(
    "template",
    [
        "caption ILIKE 'buy % in % from % at % | shop_'",
        "regexp_matches(caption, '(?is)^buy .* in .* from .* at .* \\| shop.$')",
    ],
)
def test_captions_of_a_template_are_found_and_hostile_ones_end(template: str) -> None:
    """The words of the template come 100,000 times: to try all ways to place them would take for ever."""
    fitting = ["Buy shoes in red from Ed at home | Shop!", "BUY a\nhat in  from x at | % | shop."]
    hostile = ["buy " + " in  from  at  | shop" * 100_000, "buy in from at |" * 100_000]
    table = pa.table({"caption": [*fitting, *hostile, "You can buy shoes in red from Ed at home | Shop!"]})
    assert states(template, table) == {"met": 2, "not met": 3}


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("random() < 0.5", r"rule 'mine' calls random\(\), whose result does not follow"),
        ("now() > taken", r"calls now\(\)"),
        ("age(taken) > INTERVAL 1 DAY", r"rule 'mine' .* calls age\(\) of one time, which is from today on: give two"),
        ("NOT coalesce(taken.AGE() > INTERVAL 1 DAY, true)", r"calls age\(\) of one time"),
        ("current_setting('threads') = '1'", r"calls current_setting\(\)"),
        ("getvariable('x') = 1", r"calls getvariable\(\)"),
        ("sum(width_px) > 1", r"calls sum\(\)"),
        ("read_text('/etc/passwd') = 'x'", r"calls read_text\(\)"),
        ("nothing(caption)", r"calls nothing\(\), which there is not"),
        ("row_number() OVER () > 1", "holds 'WINDOW'"),
        ("(SELECT 1) = 1", "holds 'SUBQUERY'"),
        ("caption IN (SELECT 'x')", "holds 'SUBQUERY'"),
        ("columns(*) IS NULL", "holds 'STAR'"),
        ("caption = $1", "holds 'PARAMETER'"),
        ("#1 = 'x'", "holds 'POSITIONAL_REFERENCE'"),
        ("list_filter([1], lambda x: x > 0)[1] = 1", "holds 'LAMBDA'"),
        ("1 = 1), (2 = 2", "is more than one expression"),
        ("1 = 1) UNION SELECT (true", "is more than one expression"),
        ("1 = 1; DROP TABLE samples", "is no expression of SQL"),
        ("caption <", "is no expression of SQL: syntax error"),
        ("x" * 10_001, "has 10,001 characters"),
    ],
)
def test_what_is_no_expression_over_the_row_is_refused_whatever_the_table(expression: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_syntax({"mine": expression})


@pytest.mark.parametrize("name", ["", "Mine", "1st", "my rule", "a" * 65, "a\n"])
def test_a_rule_has_a_name_that_is_a_reason(name: str) -> None:
    with pytest.raises(ValueError, match="has a name that is no reason"):
        check_syntax({name: "true"})


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("captoin = 'x'", r"names the column 'captoin', which the table does not have \(did you mean 'caption'\?\)"),
        ("current_date > taken", "names the column 'current_date', which the table does not have"),
        ("similarity", r"gives DOUBLE for the table, where yes or no was expected"),
        ("", "where yes or no was expected"),
        ("spelled > 1", r"Cannot compare values of type VARCHAR.*TRY_CAST\(x AS DOUBLE\)"),
        ("width_px LIKE 'x'", "cannot be applied to the table"),
        ("meta.licence = 'x'", "cannot be applied to the table"),
    ],
)
def test_names_and_types_are_checked_without_a_row(expression: str, words: str) -> None:
    check_syntax({"mine": expression})
    with pytest.raises(StageError, match=words):
        check_against({"mine": expression}, TABLE.slice(0, 0), "the table")


def test_a_value_that_breaks_a_rule_is_told_with_its_table() -> None:
    rules = {"mine": "CAST(spelled AS DOUBLE) > 1"}
    check_against(rules, TABLE, "the table")
    with pytest.raises(StageError, match=r"cannot be applied to part 7: Conversion Error.*'b'.*TRY_CAST"):
        apply_rules(rules, TABLE, "part 7")


def test_columns_that_differ_in_case_alone_are_refused() -> None:
    with pytest.raises(StageError, match="of which the table has 2: SQL knows no letter case"):
        check_against({"mine": "a = 1"}, pa.table({"a": [1], "A": [2]}), "the table")


def test_of_several_rules_the_first_by_name_is_the_reason() -> None:
    rules = {"wide": "width_px >= 1", "narrow": "width_px = 1"}
    applied = apply_rules(rules, TABLE, "the table")
    assert applied.reasons == ["narrow", "wide", "wide", "wide"]
    assert applied.reasons == apply_rules(dict(reversed(rules.items())), TABLE, "the table").reasons
    reasons = reasons_of_rules(rules)
    table = pa.table(verdict_columns([reasons[name] for name in ("narrow", "wide")]))
    assert table.to_pydict() == {"verdict": [Verdict.DROPPED.value] * 2, "reason": ["narrow", "wide"]}


def test_text_that_is_no_utf8_is_unreadable() -> None:
    raw = pa.array([b"ok", b"\xff\xfe", None])
    column = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    assert states("t = 'ok'", pa.table({"t": column})) == {"met": 1, "null": 1, "unreadable": 1}


def test_no_rules_and_no_rows() -> None:
    assert apply_rules({}, TABLE, "the table").reasons == [None] * 4 and reasons_of_rules({}) == {}
    assert apply_rules({"mine": "width_px > 1"}, TABLE.slice(0, 0), "the table").reasons == []


def test_scores_are_numbers_under_our_names_whatever_the_table_calls_them() -> None:
    samples = pa.table({"Clip_Similarity_ViTB32": ["0.1", "x", None], "PUNSAFE": [0.9, 0.1, None]})
    columns = score_columns(samples.column_names, ScoreFields())
    table = rule_table(samples, columns, rows_of_scores(samples, columns), {"picture_contrast": pa.array([1, 2, None])})
    assert states("similarity < 0.28", table) == {"met": 1, "unreadable": 1, "null": 1}
    assert states("punsafe > 0.5 AND picture_contrast = 1", table) == {"met": 1, "not met": 1, "null": 1}


@pytest.mark.parametrize("num_rows", [1_000, 100_000])
def test_each_of_many_rows_is_judged(num_rows: int) -> None:
    table = pa.table({"n": list(range(num_rows))})
    applied = apply_rules({"odd": "n % 2 = 1"}, table, "the table")
    assert applied.counts == {"rules.odd": {"met": num_rows // 2, "not met": num_rows // 2}}
    assert applied.reasons[:3] == [None, "odd", None]


def test_two_threads_ask_at_a_time() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        found: list[Any] = list(pool.map(lambda _: states("width_px > 2"), range(8)))
    assert found == [{"met": 2, "not met": 2}] * 8
