"""Prefetches many small reads from an object store, in threads, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from stages.store.store import Store

NUM_READ_AHEAD = 8
"""Reads at a time: enough to hide the latency of an object store behind the work on earlier reads."""

Item = TypeVar("Item")
Done = TypeVar("Done")


def read_ahead(store: Store, read: Callable[[Item], Done], items: Iterable[Item]) -> Iterator[Done]:
    """`read` of each item, in order of the items; prefetched from an object store, not from a local folder."""
    return map(read, items) if store.folder else ahead(read, items, NUM_READ_AHEAD)


def ahead(work: Callable[[Item], Done], items: Iterable[Item], num_workers: int) -> Iterator[Done]:
    """`work` on each item, in threads, yielded in order of the items.

    At most `2 * num_workers` results wait for the caller. An exception of `work` is raised at its item.
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
            pool.shutdown(wait=False, cancel_futures=True)
