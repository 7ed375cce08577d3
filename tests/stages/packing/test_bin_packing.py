"""Packing plans, judged by an independent checker: whole documents, none lost, none over the row, few rows."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.formats.permutation import Shuffle
from stages.packing.bin_packing import WINDOWS_TOGETHER, RowPlan, plan_rows
from stages.packing.certificate import certify, length_counts, lower_bound_rows


def check(plan: RowPlan, lengths: list[int], row_tokens: int) -> None:
    """What must hold of any plan, in plain Python and without the planner's own arithmetic."""
    documents, starts = plan.documents.tolist(), plan.row_starts.tolist()
    assert sorted(documents) == list(range(len(lengths))), "every document exactly once"
    assert starts[0] == 0 and starts[-1] == len(documents)
    for start, end in pairwise(starts):
        assert end - start >= 1, "no empty row"
        assert sum(lengths[document] for document in documents[start:end]) <= row_tokens


def lognormal(num_documents: int, *, row_tokens: int, median: float = 500, sigma: float = 1.0, floor: int = 1):
    drawn = np.random.default_rng(0).lognormal(math.log(median), sigma, num_documents)
    return np.clip(np.rint(drawn), floor, row_tokens).astype(np.uint16)


ROW_AND_LENGTHS = st.integers(1, 60).flatmap(
    lambda row_tokens: st.tuples(st.just(row_tokens), st.lists(st.integers(1, row_tokens), max_size=80))
)


@settings(max_examples=300)
@given(case=ROW_AND_LENGTHS, window=st.none() | st.integers(1, 30))
def test_any_plan_holds_every_document_once_within_the_row(case, window) -> None:
    row_tokens, lengths = case
    plan = plan_rows(np.array(lengths, np.uint16), row_tokens=row_tokens, key="k", window_documents=window)
    check(plan, lengths, row_tokens)


@settings(max_examples=200)
@given(case=ROW_AND_LENGTHS)
def test_the_lower_bound_is_one_and_a_plan_is_never_twice_as_bad(case) -> None:
    row_tokens, lengths = case
    plan = plan_rows(np.array(lengths, np.uint16), row_tokens=row_tokens, key="k")
    bound = lower_bound_rows(length_counts(np.array(lengths, np.int64), row_tokens), row_tokens)
    assert math.ceil(sum(lengths) / row_tokens) <= bound <= plan.num_rows <= max(1, 2 * bound)


@settings(max_examples=200)
@given(case=ROW_AND_LENGTHS)
def test_the_lower_bound_is_never_above_the_optimum(case) -> None:
    row_tokens, lengths = case
    few = lengths[:8]  # as many as can be packed in every way there is
    assert lower_bound_rows(length_counts(np.array(few, np.int64), row_tokens), row_tokens) <= fewest_rows(
        few, row_tokens
    )


def fewest_rows(lengths: list[int], row_tokens: int) -> int:
    """The true optimum, by trying everything."""

    def best(left: list[int], rooms: tuple[int, ...]) -> int:
        if not left:
            return len(rooms)
        first, rest = left[0], left[1:]
        tries = [best(rest, (*rooms, row_tokens - first))]
        for index, room in enumerate(rooms):
            if room >= first:
                tries.append(best(rest, (*rooms[:index], room - first, *rooms[index + 1 :])))
        return min(tries)

    return best(sorted(lengths, reverse=True), ())


@pytest.mark.parametrize(
    ("lengths", "row_tokens", "rows"),
    [
        ([6, 6, 6], 10, 3),  # each over half: their tokens alone would say 2
        ([6, 6, 4, 4, 5], 10, 3),
        ([7, 7, 4, 4], 10, 3),  # nothing of 4 fits beside a 7, and two 4 share
    ],
)
def test_the_lower_bound_sees_what_cannot_lie_together(lengths: list[int], row_tokens: int, rows: int) -> None:
    assert lower_bound_rows(length_counts(np.array(lengths), row_tokens), row_tokens) == rows
    assert plan_rows(np.array(lengths), row_tokens=row_tokens, key="k").num_rows == rows


@pytest.mark.parametrize("median_sigma_floor", [(500, 1.0, 1), (300, 1.4, 1), (500, 1.0, 100), (640, 0.7, 1)])
def test_the_whole_is_packed_within_a_ten_thousandth_of_the_bound(median_sigma_floor) -> None:
    median, sigma, floor = median_sigma_floor
    lengths = lognormal(300_000, row_tokens=16_384, median=median, sigma=sigma, floor=floor)
    plan = plan_rows(lengths, row_tokens=16_384, key="k")
    certificate = certify(length_counts(lengths, 16_384), plan.num_rows, 16_384)
    assert certificate.gap <= 1e-4
    check(plan, lengths.tolist(), 16_384)


def test_windows_of_4096_fill_rows_to_998_thousandths_and_keep_documents_near() -> None:
    lengths = lognormal(20 * 4096, row_tokens=16_384)
    plan = plan_rows(lengths, row_tokens=16_384, key="k", window_documents=4096)
    assert certify(length_counts(lengths, 16_384), plan.num_rows, 16_384).fill >= 0.998
    check(plan, lengths.tolist(), 16_384)
    moved = np.abs(np.arange(len(lengths)) - plan.documents)
    assert moved.max() < WINDOWS_TOGETHER * 4096
    assert np.quantile(moved, 0.95) <= 4096


def test_rows_are_alike_in_documents() -> None:
    """Long documents spread over all rows, so that no row is all short ones and another all long."""
    lengths = lognormal(100_000, row_tokens=16_384)
    num_documents = np.diff(plan_rows(lengths, row_tokens=16_384, key="k").row_starts)
    assert num_documents.std() / num_documents.mean() < 0.6


def test_neither_source_nor_length_says_where_a_document_lands() -> None:
    """A million documents of two sources, one of longer documents, drawn as `mix_samples` draws them."""
    slots = Shuffle(1_000_000, "draw").items(np.arange(1_000_000))
    is_text = slots < 300_000
    lengths = lognormal(1_000_000, row_tokens=4096, median=120)
    lengths = np.where(is_text, np.minimum(2 * lengths, 4096), lengths).astype(np.uint16)
    plan = plan_rows(lengths, row_tokens=4096, key="k")
    row = np.repeat(np.arange(plan.num_rows), np.diff(plan.row_starts)) / plan.num_rows
    deciles = np.searchsorted(np.quantile(lengths, np.arange(0.1, 1, 0.1)), lengths)[plan.documents]
    thirds = plan.documents * 3 // len(lengths)
    groups = [deciles == decile for decile in range(10)] + [thirds == third for third in range(3)]
    for group in [*groups, is_text[plan.documents], ~is_text[plan.documents]]:
        assert abs(row[group].mean() - 0.5) < 0.005, "within 1% of the middle"


def test_a_plan_is_a_function_of_lengths_row_and_key() -> None:
    lengths = lognormal(5000, row_tokens=4096)
    first, again, other = (plan_rows(lengths, row_tokens=4096, key=key) for key in ("a", "a", "b"))
    assert np.array_equal(first.documents, again.documents)
    assert not np.array_equal(first.documents, other.documents)


def test_an_impossible_length_is_refused_with_its_value() -> None:
    with pytest.raises(ValueError, match="1 to 17 tokens .* a row holds 1 to 16"):
        plan_rows(np.array([1, 17]), row_tokens=16, key="k")


def test_the_certificate_of_nothing_is_nothing() -> None:
    plan = plan_rows(np.empty(0, np.uint16), row_tokens=16, key="k")
    assert plan.num_rows == 0
    assert certify([0] * 17, 0, 16).gap == 0.0
