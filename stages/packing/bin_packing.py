"""Plans which documents share a row (bin packing): rows are nearly full, and no document is lost or cut.

Owns the packing, on lengths alone; `certificate.py` computes how good it is. Documents of equal length are counted, not
listed, and rows with the same contents are one bundle. The cost therefore depends on the number of distinct lengths,
and ten million documents take seconds.

The rule goes through lengths from long to short and places a document in the first of these ways that is possible:

    1   close a row that has exactly this length left
    2   close a row together with a shorter document that fills the rest exactly
    3   open one of the rows that any packing needs, the last excepted
    4   go into the emptiest row, while that is emptier than a threshold: this makes rows alike in work
    5   go into the fullest row where as much again as its own length stays free
    6   go into the fullest row where it fits
    7   open a row beyond those that any packing needs

An example: rows of 10 tokens, documents of 7, 6, 5, 4, 3, 3 and 2 tokens. They are 30 tokens, so any packing needs 3
rows and 2 are opened first. The threshold, a quarter of a row, is 2 tokens.

    7   opens row A                   A: 7          room left: 3
    6   opens row B                   B: 6          room left: 3, 4
    5   fits in no row: opens row C   C: 5          room left: 3, 4, 5
    4   closes B                      B: 6 4        room left: 3, 5
    3   closes A                      A: 7 3        room left: 5
    3   closes C together with the 2  C: 5 3 2      3 full rows
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from stages.formats.permutation import Shuffle
from stages.packing.certificate import CHUNK, length_counts, lower_bound_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Whole: TypeAlias = NDArray[np.integer[Any]]

EVEN_DOWN_TO = (0.25, 0.5, 1.0)
"""Rows are filled evenly while this fraction of a row is free; tried in order until a plan is near its lower bound.
Evenly filled rows are alike in documents and in cost; tightly filled ones waste less where most lengths are similar."""
WINDOWS_TOGETHER = 8
"""Windows in a row that hand documents on to the next; the last of them keeps all of its own."""
NEAR = 1e-4
"""Rows above the lower bound, as a fraction of it, at which no further plan is tried."""
ROWS_AT_ONCE = CHUNK // 16
"""Rows handled together, 262,144. Temporary memory follows their documents, some 16 a row: about `CHUNK` of them."""

Contents: TypeAlias = "tuple[int, Contents] | None"
"""Contents of a row as a linked list: the length of one document, and the rest."""


@dataclass(frozen=True)
class RowPlan:
    """Which documents each row holds."""

    documents: Whole
    """[num_documents] number of each document, once, row after row."""
    row_starts: Whole
    """[num_rows + 1] where each row begins in `documents`."""

    @property
    def num_rows(self) -> int:
        """Rows in the plan."""
        return len(self.row_starts) - 1

    def row_of_each(self) -> NDArray[np.uint32]:
        """The row of every document, by its number."""
        import numpy as np

        row_of = np.empty(len(self.documents), np.uint32)
        for first in range(0, self.num_rows, ROWS_AT_ONCE):
            starts = self.row_starts[first : first + ROWS_AT_ONCE + 1]
            rows = np.arange(first, first + len(starts) - 1, dtype=np.uint32)
            row_of[self.documents[starts[0] : starts[-1]]] = np.repeat(rows, np.diff(starts))
        return row_of


def plan_rows(lengths: Whole, *, row_tokens: int, key: str, window_documents: int | None = None) -> RowPlan:
    """Pack all documents into rows of at most `row_tokens`, the rows in an order shuffled by `key`.

    `lengths` [num_documents] are in tokens, in draw order. With `window_documents`, only so many consecutive documents
    are packed together. The emptiest row of a window is then dissolved and its documents are packed in the next window,
    because most windows would end in a half-empty row. Each `WINDOWS_TOGETHER`-th window keeps all its rows: it bounds
    how long a document can wait. Raises `ValueError` for a length outside 1..row_tokens.
    """
    import numpy as np

    _check_lengths(lengths, row_tokens)
    if window_documents is None or window_documents >= len(lengths):
        return _shuffled(_pack(lengths, row_tokens), f"{key}/0")
    index = np.int32 if len(lengths) < 2**31 else np.int64
    waiting = np.empty(0, index)
    documents, sizes = [], []
    for number, start in enumerate(range(0, len(lengths), window_documents), start=1):
        until = min(start + window_documents, len(lengths))
        inside = np.concatenate([waiting, np.arange(start, until, dtype=index)])
        plan = _pack(lengths[inside], row_tokens)
        held_back = plan.documents[:0]
        if until < len(lengths) and number % WINDOWS_TOGETHER:
            plan, held_back = _without_emptiest_row(plan, lengths[inside], row_tokens)
        waiting = inside[held_back]
        plan = _shuffled(plan, f"{key}/{start}")
        documents.append(inside[plan.documents])
        sizes.append(np.diff(plan.row_starts))
    return RowPlan(np.concatenate(documents), _starts(np.concatenate(sizes)))


class _Packing:
    """A packing under way, in bundles of rows with the same contents."""

    def __init__(self, counts: list[int], row_tokens: int, even_down_to: float) -> None:
        self.row_tokens = row_tokens
        self.even_down_to_tokens = int(row_tokens * even_down_to)
        self.left = list(counts)
        self.bundles: dict[int, list[tuple[int, Contents]]] = {}
        """Room left, in tokens, to the bundles with that room. A bundle is (number of rows, contents of each): of
        rows of 10 tokens, three with documents of 7 and 2 are `{1: [(3, (2, (7, None)))]}`."""
        self.rooms: list[int] = []
        """Keys of `bundles` except 0, in rising order."""
        self.num_unopened = max(1, lower_bound_rows(counts, row_tokens) - 1)
        """Rows still to be opened before documents share rows: the lower bound less one. The last row takes what the
        others leave, which gathers the free room in one row."""
        self.shortest = next((length for length, count in enumerate(counts) if count), 0)
        for length in [length for length, count in enumerate(counts) if count][::-1]:
            while self.left[length]:
                self._place_some(length)

    @property
    def num_rows(self) -> int:
        """Rows begun so far."""
        return sum(num_rows for bundles in self.bundles.values() for num_rows, _ in bundles)

    def _place_some(self, length: int) -> bool:
        """Place at least one document of this length by the first rule that applies."""
        return (
            self._close(length)  # room of exactly `length`
            or self._close_together(length)  # room of exactly `length` and one shorter document
            or self._open(length, self.num_unopened)  # a row that any packing needs
            or self._place_emptiest(length)  # the emptiest row, if it is emptier than the threshold
            or self._place_tightly(length, least_room=length + max(self.shortest, length))  # another one fits later
            or self._place_tightly(length, least_room=length)  # the least room that is enough
            or self._open(length, -(-self.left[length] // (self.row_tokens // length)))  # more rows than the bound
        )

    def _close(self, length: int) -> bool:
        """Fill up rows that have exactly this room left."""
        return length in self.bundles and self._add(length, (length,))

    def _close_together(self, length: int) -> bool:
        """Fill up rows with this and another document, at most as long, that take exactly the room left.

        The longest possible other document is taken, because short ones fit anywhere later.
        """
        for index in range(bisect_right(self.rooms, 2 * length) - 1, -1, -1):
            room = self.rooms[index]
            other = room - length
            if other <= 0:
                return False
            enough = self.left[length] >= 2 if other == length else self.left[other]
            if enough and other not in self.bundles:
                return self._add(room, (length, other))
        return False

    def _place_emptiest(self, length: int) -> bool:
        """Put documents into the emptiest rows, while those are emptier than the threshold."""
        wanted = max(self.even_down_to_tokens, 2 * length)
        return bool(self.rooms) and self.rooms[-1] >= wanted and self._add(self.rooms[-1], (length,))

    def _place_tightly(self, length: int, least_room: int) -> bool:
        """Put documents where least room is left, but at least `least_room`."""
        index = bisect_left(self.rooms, least_room)
        return index < len(self.rooms) and self._add(self.rooms[index], (length,))

    def _open(self, length: int, most: int) -> bool:
        """Begin up to `most` rows with one document each."""
        num_rows = min(self.left[length], most)
        if num_rows:
            self.num_unopened = max(0, self.num_unopened - num_rows)
            self.left[length] -= num_rows
            self._put(self.row_tokens - length, num_rows, (length, None))
        return num_rows > 0

    def _add(self, room: int, added: tuple[int, ...]) -> bool:
        """Put one document of each added length into as many rows of one bundle as there are documents for.

        Documents for 2 of the 5 rows of a bundle split it into bundles of 2 and 3 rows.
        """
        num_rows, contents = self.bundles[room].pop()
        num_filled = min(num_rows, *(self.left[length] // added.count(length) for length in added))
        if num_filled < num_rows:
            self.bundles[room].append((num_rows - num_filled, contents))
        elif not self.bundles[room]:
            del self.bundles[room]
            del self.rooms[bisect_left(self.rooms, room)]
        for length in added:
            self.left[length] -= num_filled
            contents = (length, contents)
        self._put(room - sum(added), num_filled, contents)
        return True

    def _put(self, room: int, num_rows: int, contents: Contents) -> None:
        """Record rows with these contents and this room left, as a bundle."""
        if room and room not in self.bundles:
            insort(self.rooms, room)
        self.bundles.setdefault(room, []).append((num_rows, contents))


def _best_packing(counts: list[int], row_tokens: int) -> _Packing:
    """The packing with the fewest rows, by the thresholds `EVEN_DOWN_TO` up to the first that is near its bound."""
    near_rows = lower_bound_rows(counts, row_tokens) * (1 + NEAR)
    best: _Packing | None = None
    for even_down_to in EVEN_DOWN_TO:
        packing = _Packing(counts, row_tokens, even_down_to)
        best = packing if best is None or packing.num_rows < best.num_rows else best
        if best.num_rows <= near_rows:
            break
    assert best is not None
    return best


def _pack(lengths: Whole, row_tokens: int) -> RowPlan:
    """Pack the documents 0..n-1, in bundles; rows of a bundle lie together."""
    import numpy as np

    counts = length_counts(lengths, row_tokens)
    by_length, taken = _by_length(lengths, counts), _starts(np.asarray(counts)).tolist()
    packing = _best_packing(counts, row_tokens)
    documents: Whole = np.empty_like(by_length)
    sizes, filled = [np.empty(0, np.int64)], 0
    for room in sorted(packing.bundles):
        for num_rows, contents in packing.bundles[room]:
            columns = []
            for length in _unfold(contents):
                columns.append(by_length[taken[length] : taken[length] + num_rows])
                taken[length] += num_rows
            block = np.stack(columns, axis=1)
            documents[filled : filled + block.size] = block.ravel()
            filled += block.size
            sizes.append(np.full(num_rows, block.shape[1], np.int64))
    return RowPlan(documents, _starts(np.concatenate(sizes)))


def _unfold(contents: Contents) -> Iterator[int]:
    """The lengths in the contents of a row, the last placed first."""
    while contents is not None:
        length, contents = contents
        yield length


def _by_length(lengths: Whole, counts: list[int]) -> Whole:
    """Document numbers from short to long, equal ones in draw order: a counting sort in bounded memory."""
    import numpy as np

    ordered: Whole = np.empty(len(lengths), np.int32 if len(lengths) < 2**31 else np.int64)
    next_place = _starts(np.asarray(counts))[:-1]
    for start in range(0, len(lengths), CHUNK):
        chunk = lengths[start : start + CHUNK]
        order = np.argsort(chunk, kind="stable")
        num_each = np.bincount(chunk, minlength=len(counts))
        shift = next_place - _starts(num_each)[:-1]
        ordered[np.arange(len(chunk)) + shift[chunk[order]]] = order + start
        next_place = next_place + num_each
    return ordered


def _without_emptiest_row(plan: RowPlan, lengths: Whole, row_tokens: int) -> tuple[RowPlan, Whole]:
    """The plan without its emptiest row, and that row's documents. A plan of full rows stays whole."""
    import numpy as np

    tokens = np.add.reduceat(lengths[plan.documents].astype(np.int64), plan.row_starts[:-1])
    emptiest = int(tokens.argmin())
    start, end = plan.row_starts[emptiest : emptiest + 2].tolist()
    if tokens[emptiest] == row_tokens:
        return plan, plan.documents[:0]
    rest = np.concatenate([plan.documents[:start], plan.documents[end:]])
    sizes: NDArray[np.int64] = np.delete(np.diff(plan.row_starts), emptiest)
    return RowPlan(rest, _starts(sizes)), plan.documents[start:end]


def _shuffled(plan: RowPlan, key: str) -> RowPlan:
    """The same rows in an order shuffled by `key`."""
    import numpy as np

    if not plan.num_rows:
        return plan
    return reordered(plan, Shuffle(plan.num_rows, key).items(np.arange(plan.num_rows)))


def reordered(plan: RowPlan, order: Whole) -> RowPlan:
    """The same rows in another order: row `order[0]` first."""
    import numpy as np

    sizes = np.diff(plan.row_starts)
    starts = _starts(sizes[order])
    documents = np.empty_like(plan.documents)
    for first in range(0, plan.num_rows, ROWS_AT_ONCE):
        rows = order[first : first + ROWS_AT_ONCE]
        begin, end = starts[first], starts[min(first + ROWS_AT_ONCE, plan.num_rows)]
        shift = np.repeat(plan.row_starts[rows] - starts[first : first + len(rows)], sizes[rows])
        documents[begin:end] = plan.documents[np.arange(begin, end) + shift]
    return RowPlan(documents, starts)


def _starts(sizes: Whole) -> Whole:
    """Where each of several pieces begins when laid end to end, and where the last ends: sizes 3, 2 give 0, 3, 5."""
    import numpy as np

    starts = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    return starts


def _check_lengths(lengths: Whole, row_tokens: int) -> None:
    if len(lengths) and not 1 <= int(lengths.min()) <= int(lengths.max()) <= row_tokens:
        raise ValueError(
            f"lengths of {lengths.min()} to {lengths.max()} tokens cannot be packed: a row holds 1 to {row_tokens}"
        )
