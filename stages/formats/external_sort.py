"""Sorts hundreds of millions of records on local disk (external bucket sort).

Records of one fixed shape are appended to files by ranges of a key; the files are then read one after the other, each
small enough to be sorted in memory. The result does not depend on the number of files, as long as the reader sorts each
file completely.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Records: TypeAlias = NDArray[np.void]
    """One-dimensional array of a structured type."""

RECORDS_PER_BUCKET = 2**21
"""Records sorted in memory at a time, on average: some 100 MB, and as much again for the sorted copy."""
MAX_BUCKETS = 512
"""Most files open at once, below the limit of 1,024 for a process; more records make larger buckets."""
WRITE_BUFFER_BYTES = 128 * 1024
"""Buffer of each open file, in bytes."""


class Buckets:
    """Records in files, each for an equal range of the keys 0 to `num_keys` - 1. Use as a context manager.

    4,000,000 records with keys below 1,000 take 2 files: keys 0 to 499, and 500 to 999.
    """

    def __init__(self, folder: Path, fields: list[tuple[str, str]], *, num_keys: int, num_records: int) -> None:
        import numpy as np

        folder.mkdir()
        num_buckets = max(1, min(MAX_BUCKETS, num_keys, -(-num_records // RECORDS_PER_BUCKET)))
        self._dtype = np.dtype(fields)
        self._keys_per_bucket = -(-num_keys // num_buckets)
        self._paths = [folder / f"{number:05d}" for number in range(-(-num_keys // self._keys_per_bucket))]
        self._files = [path.open("wb", buffering=WRITE_BUFFER_BYTES) for path in self._paths]

    def __enter__(self) -> Buckets:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()

    def add(self, records: Records, keys: NDArray[Any]) -> None:
        """Append records [N] to the files of their `keys` [N]."""
        import numpy as np

        numbers = (keys // self._keys_per_bucket).astype(np.uint16)
        order = np.argsort(numbers, kind="stable")
        data = raw(records.take(order))
        edges = np.searchsorted(numbers[order], np.arange(len(self._files) + 1)) * self._dtype.itemsize
        for file, start, end in zip(self._files, edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if start < end:
                file.write(data[start:end])

    def drain(self) -> Iterator[Records]:
        """The records of each file, by rising ranges of keys; within a file, in the order in which they were added.

        Deletes each file when it has been read.
        """
        import numpy as np

        for file, path in zip(self._files, self._paths, strict=True):
            file.close()
            yield np.fromfile(path, self._dtype)
            path.unlink()


def raw(records: Records) -> memoryview:
    """The bytes of records, for `file.write`: unlike numpy's `tofile`, that raises when a disk is full."""
    import numpy as np

    return records.view(np.uint8).data


def order_of(first: NDArray[np.unsignedinteger[Any]], *others: NDArray[Any]) -> NDArray[np.intp]:
    """The order [N] that sorts by `first` [N], and among equal values by the `others`, like `numpy.lexsort`.

    Nearly ten times as fast as `lexsort` where few values of `first` are equal: only those are sorted by all keys. With
    `first` 3, 1, 3 and a second key 7, 0, 5 the order is 1, 2, 0.
    """
    import numpy as np

    order = np.argsort(first)
    equal = np.diff(first[order]) == 0
    if equal.any():
        is_tied = np.append(equal, False)
        is_tied[1:] |= equal
        tied = order[is_tied]
        order[is_tied] = tied[np.lexsort([key[tied] for key in (*reversed(others), first)])]
    return order
