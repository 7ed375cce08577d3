"""Entries: whatever is put in is found again, in pieces and slots of any number, beside few that were never put in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.indexes import entries
from pipelines.indexes.entries import FOUND_FIELDS, IndexLayout, leading, matches, parts_of, piece_bytes, rests_of

MANY_PARTS = 70_000


def found_of(pairs: list[tuple[int, int]]) -> np.ndarray:
    return np.array(pairs, FOUND_FIELDS)


def pieces_of(pairs: list[tuple[int, int]], layout: IndexLayout) -> list[bytes]:
    found = found_of(pairs)
    return [
        piece_bytes(found[layout.pieces(found["digest"]) == piece], layout)[0] for piece in range(layout.num_pieces)
    ]


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 299)), max_size=60), st.data())
def test_each_digest_is_found_in_just_its_parts(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    layout = IndexLayout(
        piece_bits := data.draw(st.integers(0, 3)), piece_bits + data.draw(st.integers(0, 5)), part_bytes=2
    )
    pieces = pieces_of(pairs, layout)
    asked = np.array([digest for digest, _ in pairs] + [0, 2**64 - 1, 2**63], np.uint64)
    got: dict[int, set[int]] = {int(digest): set() for digest in asked}
    for piece, one in enumerate(pieces):
        own = asked[layout.pieces(asked) == piece]
        numbers, parts = matches(one, own, layout)
        for number, part in zip(numbers.tolist(), parts.tolist(), strict=True):
            got[int(own[number])].add(part)
    shift = np.uint64(64 - layout.known_bits)
    for digest, found in got.items():  # an index knows the leading bits alone
        same = {part for other, part in pairs if np.uint64(other) >> shift == np.uint64(digest) >> shift}
        assert found == same


def test_entries_are_sorted_of_fixed_width_and_each_once() -> None:
    layout = IndexLayout.of(3, MANY_PARTS)
    assert (layout.part_bytes, layout.entry_bytes) == (3, 6)
    data, num_entries = piece_bytes(found_of([(7 << 40, 69_999), (1 << 40, 5), (7 << 40, 69_999)]), layout)
    assert num_entries == 2 and len(data) == layout.offsets_bytes + 2 * layout.entry_bytes
    rows = np.frombuffer(data, np.uint8, offset=layout.offsets_bytes).reshape(-1, layout.entry_bytes)
    assert parts_of(rows).tolist() == [5, 69_999] and rests_of(rows).tolist() == [1, 7]


def test_numbers_that_do_not_fit_into_64_bits_together_are_sorted_all_the_same() -> None:
    wide = IndexLayout(piece_bits=0, slot_bits=30, part_bytes=3)
    chance = np.random.default_rng(5)
    digests = chance.integers(0, 2**64, 500, np.uint64) | np.uint64(2**63)
    known = leading(np.repeat(digests, 2), wide.known_bits)
    parts = np.tile(np.array([65_536, 3], np.uint32), 500)
    distinct, numbers = entries._distinct(known, parts, 24)
    assert list(zip(distinct.tolist(), numbers.tolist(), strict=True)) == sorted(
        set(zip(known.tolist(), parts.tolist(), strict=True))
    )


@pytest.mark.parametrize(("num_found", "num_parts"), [(0, 0), (1, 1), (390_000_000, 39_000), (3_200_000_000, 90_000)])
def test_slots_and_pieces_stay_small_whatever_is_indexed(num_found: int, num_parts: int) -> None:
    layout = IndexLayout.of(num_found, num_parts)
    assert num_found / layout.num_pieces <= entries.ENTRIES_PER_PIECE
    assert num_found / 2**layout.slot_bits <= entries.ENTRIES_PER_SLOT
    assert num_parts <= 256**layout.part_bytes and layout.part_bytes <= 3
