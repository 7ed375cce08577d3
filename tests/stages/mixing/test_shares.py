"""Shares on plain numbers: they add up, every worker computes the same drawings, and places are spread evenly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.contract import StageError
from stages.mixing.shares import Allotment, allot, drawings
from stages.packing.bin_packing import plan_rows


def test_the_same_draw_for_another_partition_of_the_work() -> None:
    """Parts are computed alone, so how samples are cut into parts does not change who is drawn nor where."""
    allotment = Allotment(num_kept={"a": 100, "b": 31}, num_drawn={"a": 40, "b": 77})
    whole = [array.tolist() for array in drawings(allotment, "b", 0, 31, seed=3)]
    cut: list[list[int]] = [[], [], []]
    for first, number in ((0, 10), (10, 1), (11, 20)):
        samples, repetitions, places = drawings(allotment, "b", first, number, seed=3)
        for into, values in zip(cut, (samples + first, repetitions, places), strict=True):
            into.extend(values.tolist())
    assert cut == whole


@given(num_kept=st.integers(1, 60), num_drawn=st.integers(1, 200), other=st.integers(1, 50), seed=st.integers(0, 5))
def test_places_are_each_taken_once_and_samples_equally_often(num_kept, num_drawn, other, seed) -> None:
    allotment = Allotment(num_kept={"a": num_kept, "z": other}, num_drawn={"a": num_drawn, "z": other})
    samples, repetitions, places = drawings(allotment, "a", 0, num_kept, seed)
    _, _, others = drawings(allotment, "z", 0, other, seed)
    assert sorted([*places.tolist(), *others.tolist()]) == list(range(num_drawn + other))
    times = np.bincount(samples, minlength=num_kept)
    assert times.sum() == num_drawn and times.max() - times.min() <= 1
    assert len(set(zip(samples.tolist(), repetitions.tolist(), strict=True))) == num_drawn


def test_neither_source_nor_length_says_where_a_sample_is_drawn_or_packed() -> None:
    """Over a million lengths the mean place of each source, and of each tenth of its lengths, is within 1% of the
    middle: in the draw and, packed whole or in windows, in the rows. The sources lie sorted by length, the worst case.
    """
    allotment = Allotment(num_kept={"pairs": 700_000, "text": 400_000}, num_drawn={"pairs": 700_000, "text": 300_000})
    chance = np.random.default_rng(0)
    lengths = np.zeros(allotment.total, np.uint16)
    groups: dict[str, np.ndarray] = {}
    for source, kept in allotment.num_kept.items():
        own = np.sort(np.clip(chance.lognormal(6, 1, kept), 1, 16_384).astype(np.uint16))
        samples, _, places = drawings(allotment, source, 0, kept, seed=0)
        lengths[places] = own[samples]
        groups |= {f"{source} {tenth}": places[samples * 10 // kept == tenth] for tenth in range(10)}
        groups[source] = places
    in_draw = np.arange(allotment.total) / allotment.total
    assert strays(groups, in_draw) < 0.005
    for window in (None, 4096):
        plan = plan_rows(lengths, row_tokens=16_384, key="rows", window_documents=window)
        in_rows = np.empty(allotment.total)
        in_rows[plan.documents] = np.repeat(np.arange(plan.num_rows), np.diff(plan.row_starts)) / plan.num_rows
        assert strays(groups, in_rows) < 0.005


def strays(groups: dict[str, np.ndarray], where: np.ndarray) -> float:
    """How far the mean place of any group is from the middle."""
    return max(abs(where[places].mean() - 0.5) for places in groups.values())


@given(
    shares=st.dictionaries(st.sampled_from("abcd"), st.floats(0.01, 100), min_size=1),
    kept=st.integers(50_000, 10**7),
    num_samples=st.integers(20_000, 40_000),
)
def test_allotted_numbers_add_up_and_follow_the_shares(shares, kept, num_samples) -> None:
    num_kept, mean_tokens = dict.fromkeys(shares, kept), dict.fromkeys(shares, 1.0)
    allotment = allot(shares, num_kept, mean_tokens, num_samples=num_samples, max_epochs={})
    assert allotment.total == num_samples
    for source, share in shares.items():
        assert abs(allotment.num_drawn[source] - num_samples * share / sum(shares.values())) < 1


def test_a_source_too_small_for_its_share_to_show_is_refused() -> None:
    with pytest.raises(StageError, match="source 'b' gets no sample of 5"):
        allot({"a": 99, "b": 1}, {"a": 10, "b": 10}, {"a": 1.0, "b": 1.0}, num_samples=5, max_epochs={})


def test_quotas_are_rounded_to_their_sum() -> None:
    kept, ones = dict.fromkeys("abc", 100), dict.fromkeys("abc", 1.0)
    allotment = allot({"a": 2.5, "b": 3.3, "c": 4.2}, kept, ones, num_samples=10, max_epochs={})
    assert allotment.num_drawn == {"a": 3, "b": 3, "c": 4}


def test_a_sample_of_each_rank_takes_every_third_slot() -> None:
    allotment = Allotment(num_kept={"a": 3}, num_drawn={"a": 7})
    samples, repetitions, places = drawings(allotment, "a", 0, 3, seed=0)
    assert sorted(np.bincount(samples).tolist()) == [2, 2, 3]
    assert sorted(places.tolist()) == list(range(7))
    assert repetitions.tolist().count(0) == 3
