"""Files of records by slices: what one part of a phase hands to each part of the next (a shuffle).

A part writes one file, whatever the number of its readers; each reader reads its slice of the files of all writers.

    uint64 [S + 1]   where the slices begin, as numbers of records, and where the last one ends
    records          those of slice 0, then of slice 1, ...

So W writers and R readers make W files and 2 W R range reads. With 390 million pairs, 390 writers and 94 readers that
is 37,000 slices of some 10,000 records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stages.artifacts.phase_files import read_stretch
from stages.artifacts.records import FileEntry
from stages.formats.external_sort import raw
from stages.formats.read_ahead import read_ahead
from stages.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stages.formats.external_sort import Records

OFFSET_BYTES: Final = 8
RECORDS_PER_SLICE: Final = 2**22
"""Records that one reader takes, on average at most: 134 MB of those with a key, and some copies of them."""


def num_slices(num_records: int) -> int:
    """The number of slices for so many records."""
    return max(1, -(-num_records // RECORDS_PER_SLICE))


def slice_of(keys: NDArray[np.uint64], number_of_slices: int) -> NDArray[np.uint64]:
    """The slice [N] of keys [N] that are spread evenly over 64 bits: equal ranges of their leading 32 bits."""
    import numpy as np

    slices: NDArray[np.uint64] = ((keys >> np.uint64(32)) * np.uint64(number_of_slices)) >> np.uint64(32)
    return slices


def write_slices(path: Path, records: Records, numbers: NDArray[Any], number_of_slices: int) -> None:
    """Write records [N] by their slices `numbers` [N]; those of one slice keep their order."""
    import numpy as np

    narrow = numbers.astype(np.uint16 if number_of_slices <= 2**16 else np.uint32)  # sorted by radix, so fast
    order = np.argsort(narrow, kind="stable")
    offsets = np.searchsorted(narrow[order], np.arange(number_of_slices + 1)).astype("<u8")
    with path.open("wb") as file:
        file.write(raw(offsets))
        file.write(raw(records[order]))


def read_slice(store: Store, entry: FileEntry, number: int, *, of: int, fields: Sequence[tuple[str, str]]) -> Records:
    """Slice `number` of the `of` slices of a file. Raises `StoreError` where the file is missing or cut short."""
    import numpy as np

    dtype = np.dtype(list(fields))
    start, end = np.frombuffer(read_stretch(store, entry.key, number * OFFSET_BYTES, 2 * OFFSET_BYTES), "<u8").tolist()
    if start == end:
        return np.empty(0, dtype)
    first_byte = (of + 1) * OFFSET_BYTES + start * dtype.itemsize
    return np.frombuffer(read_stretch(store, entry.key, first_byte, (end - start) * dtype.itemsize), dtype)


def read_slices(
    store: Store, entries: Iterable[FileEntry], number: int, *, of: int, fields: Sequence[tuple[str, str]]
) -> Records:
    """Slice `number` of each of several files, one after the other."""
    import numpy as np

    slices = read_ahead(store, partial(_read, store, number, of, fields), entries)
    return np.concatenate([np.empty(0, np.dtype(list(fields))), *slices])


def _read(store: Store, number: int, of: int, fields: Sequence[tuple[str, str]], entry: FileEntry) -> Records:
    return read_slice(store, entry, number, of=of, fields=fields)
