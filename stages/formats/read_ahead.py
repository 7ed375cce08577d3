"""Many small reads from an object store, where each waits for an answer, some of them ahead of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from stages.store.store import Store

NUM_READ_AHEAD = 8
"""Reads at once: hides the answering time of an object store behind the work on what has come."""

Item = TypeVar("Item")
Done = TypeVar("Done")


def read_ahead(store: Store, read: Callable[[Item], Done], items: Iterable[Item]) -> Iterator[Done]:
    """`read` of each item, in order of the items; a local folder answers at once, so there nothing is read ahead."""
    return map(read, items) if store.folder else ahead(read, items, NUM_READ_AHEAD)


def ahead(work: Callable[[Item], Done], items: Iterable[Item], num_workers: int) -> Iterator[Done]:
    """`work` on each item, in order of the items, in threads; at most twice as many items ahead as there are."""
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
