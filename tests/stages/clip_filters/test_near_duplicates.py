"""Near duplicates are those that a comparison of every clip with every other one finds."""

from typing import Any

import numpy as np
import pytest

from stages.clip_filters import near_duplicates
from stages.clip_filters.near_duplicates import (
    CLIP_FIELDS,
    KEYED_FIELDS,
    KEYS_PER_CLIP,
    MAX_BITS,
    duplicates_among,
    earliest,
    keyed,
)


def clips_of(hashes: np.ndarray, stretch: Any = None, caption: Any = 0) -> np.ndarray:
    """Clips with these hashes [n, 3], each of a stretch of its own unless one is given."""
    clips = np.zeros(len(hashes), CLIP_FIELDS)
    clips["place"] = np.arange(len(hashes)) * 3
    for number in range(3):
        clips[f"hash_{number}"] = hashes[:, number]
    clips["stretch"] = np.arange(len(hashes)) if stretch is None else stretch
    clips["caption"] = caption
    clips["sample_id"] = [b"%015d\0" % number for number in range(len(hashes))]
    return clips


def random_hashes(num_clips: int, chance: np.random.Generator) -> np.ndarray:
    return chance.integers(0, 2**64, (num_clips, 3), np.uint64, endpoint=False)


def with_copies(num_clips: int, seed: int = 0) -> np.ndarray:
    """Random hashes, of which a third are copies of others with 0 to 12 of 192 bits changed, in any order."""
    chance = np.random.default_rng(seed)
    hashes = random_hashes(num_clips, chance)
    for row in range(0, num_clips, 3):
        bits = chance.permutation(192)[: chance.integers(0, 13)]
        hashes[row] = hashes[int(chance.integers(num_clips))]
        for bit in bits.tolist():
            hashes[row, bit // 64] ^= np.uint64(1 << bit % 64)
    return hashes


def expected(clips: np.ndarray, max_bits: int) -> dict[int, int]:
    """Place of each duplicate to that of the earliest clip within the distance, by comparing all with all."""
    hashes = np.stack([clips[f"hash_{number}"] for number in range(3)], axis=1)
    found = {}
    for row in range(1, len(clips)):
        bits = np.bitwise_count(hashes[:row] ^ hashes[row]).sum(axis=1)
        near = np.flatnonzero(bits <= max_bits)
        if len(near):
            found[int(clips["place"][row])] = int(clips["place"][near[0]])
    return found


def found_by_ranges(clips: np.ndarray, num_ranges: int, max_bits: int) -> np.ndarray:
    found = []
    for number in range(num_ranges):
        records = np.concatenate(list(keyed(clips, number, num_ranges)))
        found.append(duplicates_among(records[np.random.default_rng(1).permutation(len(records))], max_bits)[0])
    return earliest(np.concatenate(found))


@pytest.mark.parametrize("num_clips", [300, 3000])
@pytest.mark.parametrize("max_bits", [0, 4, MAX_BITS])
def test_none_within_the_distance_is_missed_and_none_beyond_it_found(num_clips: int, max_bits: int) -> None:
    clips = clips_of(with_copies(num_clips))
    found = found_by_ranges(clips, 1, max_bits)
    assert set(found["place"].tolist()) == set(expected(clips, max_bits))
    assert (found["of_place"] < found["place"]).all()
    ids = {int(place): sample_id for place, sample_id in zip(clips["place"], clips["sample_id"], strict=True)}
    assert all(ids[int(one["of_place"])] == one["of_id"] for one in found)


def test_the_result_does_not_depend_on_the_number_of_ranges() -> None:
    clips = clips_of(with_copies(1000))
    one, seven = found_by_ranges(clips, 1, MAX_BITS), found_by_ranges(clips, 7, MAX_BITS)
    assert (one == seven).all() and len(one) > 100


def test_each_clip_stands_under_all_its_keys_once() -> None:
    clips = clips_of(random_hashes(50, np.random.default_rng(0)))
    by_range = [np.concatenate(list(keyed(clips, number, 4))) for number in range(4)]
    together = np.concatenate(by_range)
    assert together.dtype == np.dtype(KEYED_FIELDS)
    assert len(together) == 50 * KEYS_PER_CLIP
    assert len(np.unique(together[["key", "place"]])) == len(together)


def test_of_a_chain_of_copies_the_first_stays() -> None:
    hashes = np.zeros((4, 3), np.uint64)
    for row in range(4):
        hashes[row, 0] = (1 << 5 * row) - 1
    found = found_by_ranges(clips_of(hashes), 1, 5)
    assert dict(zip(found["place"].tolist(), found["of_place"].tolist(), strict=True)) == {3: 0, 6: 3, 9: 6}


def test_one_stretch_under_two_captions_stays_twice_and_copies_of_it_go() -> None:
    hashes = np.repeat(random_hashes(1, np.random.default_rng(0)), 5, axis=0)
    clips = clips_of(hashes, stretch=[7, 7, 7, 8, 8], caption=[1, 2, 1, 1, 2])
    assert found_by_ranges(clips, 1, 4)["place"].tolist() == [6, 9, 12]


def test_many_clips_under_one_key_are_compared_with_the_nearest_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hashes of the first frame are the same in all: without the window each would be compared with each."""
    monkeypatch.setattr(near_duplicates, "WINDOW", 20)
    hashes = random_hashes(500, np.random.default_rng(0))
    hashes[:, 0] = 12345
    hashes[400] = hashes[3] ^ np.array([0, 0, 1], np.uint64)
    records = np.concatenate(list(keyed(clips_of(hashes), 0, 1)))
    found, num_crowded = duplicates_among(records, 2)
    assert found["place"].tolist() == [1200]
    assert num_crowded > 0


def test_nothing_is_found_among_nothing() -> None:
    assert len(found_by_ranges(clips_of(np.zeros((0, 3), np.uint64)), 2, MAX_BITS)) == 0
