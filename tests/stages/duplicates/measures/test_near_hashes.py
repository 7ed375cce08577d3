"""Near hashes are those that a comparison of every hash with every other one finds."""

from typing import Any

import numpy as np
import pytest

from stages.duplicates.measures import near_hashes
from stages.duplicates.measures.near_hashes import MAX_BITS, NUM_HASH_BITS, NearestBetter, band_masks, bits_of


def with_copies(num_hashes: int, seed: int = 0, most: int = MAX_BITS + 3) -> np.ndarray:
    """Different random hashes, of which a half are others with 1 to `most` bits changed."""
    chance = np.random.default_rng(seed)
    hashes = chance.integers(0, 2**64, num_hashes, np.uint64, endpoint=False)
    for number in range(0, num_hashes, 2):
        bits = chance.permutation(64)[: chance.integers(1, most + 1)]
        hashes[number] = hashes[int(chance.integers(num_hashes))]
        for bit in bits.tolist():
            hashes[number] ^= np.uint64(1 << bit)
    return np.unique(hashes)


def expected(hashes: np.ndarray, ranks: np.ndarray, max_bits: int) -> np.ndarray:
    """The best rank within the distance of each hash, its own included, by comparing all with all."""
    best = ranks.copy()
    for number, value in enumerate(hashes):
        best[number] = ranks[np.bitwise_count(hashes ^ value) <= max_bits].min()
    return best


def searched(hashes: np.ndarray, ranks: np.ndarray, max_bits: int) -> NearestBetter:
    search = NearestBetter.among(hashes, ranks, max_bits)
    for band in range(max_bits + 1):
        search.search(band)
    return search


def shuffled_ranks(num_hashes: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).permutation(num_hashes).astype(np.uint64)


@pytest.mark.parametrize("max_bits", range(MAX_BITS + 1))
def test_bands_hold_every_bit_once(max_bits: int) -> None:
    masks = band_masks(max_bits)
    assert len(masks) == max_bits + 2
    assert sorted(bit for mask in masks for bit in bits_of(mask)) == list(range(NUM_HASH_BITS))


@pytest.mark.parametrize("max_bits", range(1, MAX_BITS + 1))
def test_all_near_hashes_are_found_and_no_others(max_bits: int) -> None:
    hashes = with_copies(4000, seed=max_bits)
    ranks = shuffled_ranks(len(hashes))
    search = searched(hashes, ranks, max_bits)
    assert (search.best == expected(hashes, ranks, max_bits)).all()
    assert 100 < (search.best < ranks).sum() < len(hashes) and search.num_crowded == 0


def test_hashes_that_crowd_are_parted_by_further_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """All hashes agree in all but 24 bits, so that they share several bands."""
    monkeypatch.setattr(near_hashes, "WINDOW", 8)
    chance = np.random.default_rng(3)
    low = np.unique(chance.integers(0, 2**24, 3000, np.uint64))
    hashes, ranks = low | np.uint64(0xABCDEF << 40), shuffled_ranks(len(low))
    search = searched(hashes, ranks, 3)
    wanted = expected(hashes, ranks, 3)
    missed = int((search.best > wanted).sum())
    assert (search.best >= wanted).all()
    assert missed <= search.num_crowded
    monkeypatch.setattr(near_hashes, "WINDOW", 256)
    whole = searched(hashes, ranks, 3)
    assert (whole.best == wanted).all() and whole.num_crowded == 0


def test_too_many_alike_are_compared_with_the_best_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every hash is near to all others: 2,000 with two bits set in 64 places. The best is found by each."""
    monkeypatch.setattr(near_hashes, "WINDOW", 4)
    hashes = np.array([1 << one | 1 << other for one in range(64) for other in range(one)], np.uint64)[:2000]
    ranks = shuffled_ranks(len(hashes))
    search = searched(hashes, ranks, 4)
    assert (search.best == 0).all()
    assert search.num_crowded > 0


@pytest.mark.parametrize("max_bits", [1, 3])
def test_no_hashes_and_one_hash_are_no_trouble(max_bits: int) -> None:
    nothing: Any = np.empty(0, np.uint64)
    assert len(searched(nothing, nothing, max_bits).best) == 0
    one = np.array([5], np.uint64)
    assert searched(one, one, max_bits).best.tolist() == [5]


def test_what_is_compared_grows_little_faster_than_the_hashes() -> None:
    compared = []
    for num_hashes in (20_000, 80_000):
        hashes = with_copies(num_hashes, most=3)
        compared.append(searched(hashes, shuffled_ranks(len(hashes)), 3).num_compared)
    assert compared[1] < 5 * compared[0]
