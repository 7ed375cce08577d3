"""Keyed permutations: a bijection both ways, the same in every process, without visible pattern."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.formats.permutation import Shuffle, scatter


@given(num_items=st.integers(1, 3000), key=st.text(max_size=8))
def test_every_item_has_one_place_and_every_place_its_item(num_items: int, key: str) -> None:
    shuffle = Shuffle(num_items, key)
    places = shuffle.places(np.arange(num_items))
    assert sorted(places.tolist()) == list(range(num_items))
    assert shuffle.items(places).tolist() == list(range(num_items))


def test_the_order_is_fixed_for_good() -> None:
    """Data committed by one release must be found by the next: these numbers may never change."""
    assert Shuffle(10, "seed 0").places(np.arange(10)).tolist() == [0, 7, 5, 9, 1, 3, 8, 2, 6, 4]
    assert Shuffle(390_000_000, "seed 0").places(np.arange(3)).tolist() == [114047115, 163255938, 3086708]
    assert scatter(np.arange(2), "key").tolist() == [13669278791864611843, 8567933102108709094]


def test_a_part_of_the_order_is_computed_alone() -> None:
    shuffle = Shuffle(1_000_003, "part")
    whole = shuffle.places(np.arange(1_000_003))
    assert np.array_equal(shuffle.places(np.arange(500_000, 500_010)), whole[500_000:500_010])


def test_runs_of_items_land_evenly_and_neighbours_part() -> None:
    num_items = 200_000
    places = Shuffle(num_items, "even").places(np.arange(num_items)) / num_items
    for run in np.array_split(places, 20):
        assert abs(run.mean() - 0.5) < 0.01
        assert abs(run.std() - 12**-0.5) < 0.01
    assert abs(np.corrcoef(places[:-1], places[1:])[0, 1]) < 0.01


def test_keys_give_unrelated_orders() -> None:
    first, second = (Shuffle(50_000, key).places(np.arange(50_000)) for key in ("0", "1"))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.02
    assert (first == second).sum() < 10


@pytest.mark.parametrize("num_items", [0, -1, 2**60])
def test_impossible_sizes_are_refused(num_items: int) -> None:
    with pytest.raises(ValueError, match=f"{num_items} items"):
        Shuffle(num_items, "k")
