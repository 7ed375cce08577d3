"""Bits are counted as Python counts them, and mixing keeps different keys different."""

import numpy as np
import pytest

from stages.duplicates.measures.hash_bits import mixed, num_bits

EDGES = np.array([0, 2**64 - 1, 1], np.uint64)
VALUES = np.append(np.random.default_rng(0).integers(0, 2**64, 1000, np.uint64, endpoint=False), EDGES)


def test_bits_are_counted_with_any_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [value.bit_count() for value in VALUES.tolist()]
    assert num_bits(VALUES).tolist() == wanted
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert num_bits(VALUES).tolist() == wanted


def test_mixed_keys_are_spread_evenly_and_stay_different() -> None:
    keys = mixed(np.arange(100_000, dtype=np.uint64))
    assert len(np.unique(keys)) == len(keys)
    counts = np.bincount((keys >> np.uint64(60)).astype(int), minlength=16)
    assert counts.min() > 5800 and counts.max() < 6700
