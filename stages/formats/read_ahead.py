"""Prefetches many small reads from a store, in threads: in order, or ranges of files with neighbours in one request.

A packed row has 45 documents and as many pictures, each in another place, and a request to an object store takes some
50 ms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Final, NamedTuple, TypeVar

from stages.store.store import Store

NUM_READ_AHEAD = 8
"""Reads at a time: enough to hide the latency of an object store behind the work on earlier reads."""
MAX_GAP_BYTES: Final = 2**16
"""Bytes between two ranges that are read rather than asked for apart: 64 KiB cost less than a request."""
MAX_JOINED_BYTES: Final = 2**24
"""Longest range that is read at once, 16 MiB."""

Item = TypeVar("Item")
Done = TypeVar("Done")


def read_ahead(store: Store, read: Callable[[Item], Done], items: Iterable[Item]) -> Iterator[Done]:
    """`read` of each item, in order of the items; prefetched from an object store, not from a local folder."""
    return map(read, items) if store.folder else ahead(read, items, NUM_READ_AHEAD)


def ahead(
    work: Callable[[Item], Done], items: Iterable[Item], num_workers: int, *, at_end: Callable[[], object] = bool
) -> Iterator[Done]:
    """`work` on each item, in threads, yielded in order of the items.

    At most `2 * num_workers` results wait for the caller. An exception of `work` is raised at its item. `at_end` is
    called before the threads that still work are waited for, so that it can stop them.
    """
    with ThreadPoolExecutor(num_workers) as pool:
        waiting: deque[Future[Done]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * num_workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            at_end()
            pool.shutdown(wait=False, cancel_futures=True)


class FileRange(NamedTuple):
    """A range of a file."""

    file: str
    """Name of the file, such as its key."""
    offset: int
    """First byte."""
    size_bytes: int
    """Length, in bytes."""


def joined(ranges: Sequence[FileRange]) -> list[list[FileRange]]:
    """Ranges in their order, parted where one does not begin soon after the end of the one before it, or is that one.

    A picture under five captions in a row is read once, and those behind it with it.
    Every second frame of a clip of small frames is read at once; every tenth of large ones apart.
    """
    found: list[list[FileRange]] = []
    for one in ranges:
        first, last = (found[-1][0], found[-1][-1]) if found else (None, None)
        if first is None or last is None or one.file != last.file:
            found.append([one])
            continue
        gap_bytes = one.offset - last.offset - last.size_bytes
        length_bytes = one.offset + one.size_bytes - first.offset
        if one == last or (0 <= gap_bytes <= MAX_GAP_BYTES and length_bytes <= MAX_JOINED_BYTES):
            found[-1].append(one)
        else:
            found.append([one])
    return found


class RangesAhead:
    """Ranges that are being read. `read(file, offset, size_bytes)` is called in threads of `pool`."""

    def __init__(self, read: Callable[[str, int, int], bytes], ranges: Iterable[FileRange], pool: Executor) -> None:
        self._read_from: dict[FileRange, tuple[int, Future[bytes]]] = {}
        for together in joined(sorted(set(ranges))):
            first, last = together[0], together[-1]
            length_bytes = last.offset + last.size_bytes - first.offset
            reading = pool.submit(read, first.file, first.offset, length_bytes)
            self._read_from |= {one: (one.offset - first.offset, reading) for one in together}

    def bytes_of(self, one: FileRange) -> bytes:
        """The bytes of one of the ranges, once they are there. Raises what reading them raised."""
        start, reading = self._read_from[one]
        return reading.result()[start : start + one.size_bytes]
