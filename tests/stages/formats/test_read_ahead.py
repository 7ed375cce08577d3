"""Prefetching: results in order, a bounded number of items ahead, and errors where the item is."""

import pytest

from stages.formats.read_ahead import ahead


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
