"""A value is found among marks as Python finds it, and the benchmark that comes first is named."""

import numpy as np

from stages.duplicates.benchmark_marks import KINDS, BenchmarkMarks, MarkKind


def marks_of(values: dict[MarkKind, list[tuple[int, int]]], max_bits: int = 3) -> BenchmarkMarks:
    """Marks of each kind, with the numbers of their benchmarks."""
    marks, numbers = {}, {}
    for kind in KINDS:
        ones = sorted(values.get(kind, []))
        marks[kind] = np.array([mark for mark, _ in ones], np.uint64)
        numbers[kind] = np.array([number for _, number in ones], np.int16)
    return BenchmarkMarks(marks, numbers, ["first", "second", "third"], max_bits)


def test_values_are_found_and_others_are_not() -> None:
    marks = marks_of({"url": [(7, 1), (2**64 - 1, 0), (7, 2)]})
    assert marks.find("url", np.array([7, 8, 2**64 - 1, 0], np.uint64)).tolist() == [1, -1, 0, -1]
    assert marks.find("words", np.array([7], np.uint64)).tolist() == [-1]
    assert marks.find("url", np.empty(0, np.uint64)).tolist() == []


def test_near_hashes_are_those_that_comparing_all_with_all_finds() -> None:
    chance = np.random.default_rng(5)
    known = chance.integers(0, 2**64, 500, np.uint64, endpoint=False)
    owners = chance.integers(0, 3, 500)
    wanted = chance.integers(0, 2**64, 2000, np.uint64, endpoint=False)
    wanted[::4] = known[chance.integers(0, 500, 500)]
    for row in range(0, 2000, 4):
        for bit in chance.permutation(64)[: chance.integers(0, 7)].tolist():
            wanted[row] ^= np.uint64(1 << bit)
    for max_bits in (0, 1, 3, 6):
        marks = marks_of({"looks": list(zip(known.tolist(), owners.tolist(), strict=True))}, max_bits)
        found = marks.find_near(wanted)
        for row, value in enumerate(wanted):
            near = np.bitwise_count(known ^ value) <= max_bits
            assert found[row] == (owners[near].min() if near.any() else -1)


def test_without_pictures_nothing_looks_alike() -> None:
    assert marks_of({}).find_near(np.array([1, 2], np.uint64)).tolist() == [-1, -1]
