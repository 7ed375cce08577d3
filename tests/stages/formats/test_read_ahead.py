"""Prefetching: results in order, a bounded number of items ahead, and errors where the item is."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from stages.formats.read_ahead import (
    MAX_GAP_BYTES,
    MAX_JOINED_BYTES,
    FileRange,
    RangesAhead,
    ahead,
    joined,
)


def test_results_come_in_order() -> None:
    assert list(ahead(lambda number: number * number, range(50), 4)) == [number * number for number in range(50)]


def test_no_more_items_are_taken_than_twice_the_threads() -> None:
    taken: list[int] = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    results = ahead(lambda number: number, items(), 3)
    assert next(results) == 0
    assert len(taken) == 7


def test_an_error_is_raised_where_its_item_stands() -> None:
    results = ahead(lambda number: 1 // (3 - number), range(5), 2)
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_neighbours_are_one_range_and_others_are_not() -> None:
    a, b, far = FileRange("tar", 0, 10), FileRange("tar", 12, 8), FileRange("tar", 20 + MAX_GAP_BYTES + 1, 5)
    assert joined([a, b]) == [[a, b]]
    assert joined([a, b, far]) == [[a, b], [far]]
    assert joined([a, FileRange("other", 12, 8)]) == [[a], [FileRange("other", 12, 8)]]
    assert joined([b, a]) == [[b], [a]], "in the order in which they come"
    assert joined([a, FileRange("tar", 10, MAX_JOINED_BYTES)]) == [[a], [FileRange("tar", 10, MAX_JOINED_BYTES)]]
    assert joined([a, a, b, a]) == [[a, a, b], [a]], "one picture under several captions in a row is read once"
    assert joined([]) == []


def test_ranges_are_read_side_by_side_each_once_and_neighbours_together() -> None:
    files = {"one": bytes(range(256)), "two": bytes(reversed(range(256)))}
    ranges = [FileRange("two", 5, 3), FileRange("one", 7, 1), FileRange("two", 2, 3), FileRange("one", 7, 1)]
    asked, together = [], Barrier(2, timeout=60)

    def read(file: str, offset: int, size_bytes: int) -> bytes:
        asked.append((file, offset, size_bytes))
        together.wait()
        return files[file][offset : offset + size_bytes]

    with ThreadPoolExecutor(2) as pool:
        ahead_of = RangesAhead(read, ranges, pool)
        assert [ahead_of.bytes_of(one) for one in ranges] == [
            files[file][offset : offset + size_bytes] for file, offset, size_bytes in ranges
        ]
    assert sorted(asked) == [("one", 7, 1), ("two", 2, 6)]


def test_what_reading_raised_is_raised_for_each_range_of_it() -> None:
    def read(file: str, offset: int, size_bytes: int) -> bytes:
        raise FileNotFoundError(file)

    with ThreadPoolExecutor(1) as pool:
        ahead_of = RangesAhead(read, [FileRange("gone", 0, 1), FileRange("gone", 1, 1)], pool)
        for offset in (0, 1):
            with pytest.raises(FileNotFoundError, match="gone"):
                ahead_of.bytes_of(FileRange("gone", offset, 1))
