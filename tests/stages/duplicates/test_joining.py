"""Of pairs under one key the best ones stay; what was found twice is recorded once, with its surest reason."""

import numpy as np

from stages.duplicates.criteria import FOUND_FIELDS, KEY_FIELDS, REASONS, Criterion, DuplicateReason
from stages.duplicates.gathering import surest
from stages.duplicates.joining import duplicates_of_keys, join_parts
from stages.duplicates.nearby import found_by, near_duplicates_of, near_parts
from stages.duplicates.ranks import ranks_of

URL = Criterion("url", "url", DuplicateReason.DUPLICATE_URL)


def under_keys(keys: list[int], num_pixels: list[int], num_earlier: int = 0) -> np.ndarray:
    """Pairs under keys, the last `num_earlier` of them of an earlier source."""
    first = len(keys) - num_earlier
    records = np.zeros(len(keys), KEY_FIELDS)
    records["key"] = keys
    records["rank"][:first] = ranks_of(np.array(num_pixels[:first], int), 0, is_earlier=False)
    records["rank"][first:] = ranks_of(np.array(num_pixels[first:], int), first, is_earlier=True)
    records["sample_id"] = [b"%015d\0" % number for number in range(len(keys))]
    return records


def found_in(records: np.ndarray, criterion: Criterion) -> dict[int, int]:
    """Row of each duplicate to that of the better pair."""
    ordered = records[np.lexsort((records["rank"], records["key"]))]
    found, is_best = duplicates_of_keys(ordered, criterion)
    assert is_best.sum() == len(np.unique(records["key"]))
    return {int(one["row"]): int(one["of_id"].tobytes()[:15]) for one in found}


def test_the_best_stay() -> None:
    records = under_keys([9, 7, 9, 9, 7], [10, 20, 30, 30, 5])
    assert found_in(records, URL) == {0: 2, 3: 2, 4: 1}
    two = Criterion("caption", "caption", DuplicateReason.DUPLICATE_CAPTION, 2)
    assert found_in(records, two) == {0: 2}
    assert found_in(records[:0], URL) == {}


def test_pairs_of_earlier_sources_win_and_are_not_judged() -> None:
    assert found_in(under_keys([1, 1, 1, 1], [90, 80, 5, 7], num_earlier=2), URL) == {0: 3, 1: 3}


def test_of_what_was_found_the_surest_is_recorded() -> None:
    found = np.zeros(4, FOUND_FIELDS)
    found["row"], found["reason"], found["of_rank"] = [4, 4, 2, 4], [2, 0, 3, 0], [1, 9, 5, 8]
    assert [tuple(row)[:3] for row in surest(found).tolist()] == [(2, 3, 5), (4, 0, 8)]


def test_near_hashes_name_the_best_pair() -> None:
    hashes = under_keys([0b111, 0b100, 0b110, 0b111111 << 58], [5, 6, 7, 8])
    found = np.concatenate([found_by(near_duplicates_of(hashes, band, 3), hashes) for band in range(4)])
    found = surest(found)
    assert found["row"].tolist() == [0, 1] and set(found["reason"]) == {2}
    assert [int(one.tobytes()[:15]) for one in found["of_id"]] == [2, 2]
    assert REASONS[2] is DuplicateReason.NEAR_DUPLICATE_PICTURE


def test_parts_grow_with_the_rows() -> None:
    """390 million pairs are 93 parts for each criterion, and 93 for each band but the last."""
    assert len(join_parts([URL], 10)) == 1 and len(near_parts(3, 10)) == 4
    assert len(join_parts([URL], 390_000_000)) == 93 and len(near_parts(3, 390_000_000)) == 4 * 93
