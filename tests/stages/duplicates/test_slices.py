"""A reader gets the records of its slice of all writers, in the order in which they were written."""

from pathlib import Path

import numpy as np
import pytest

from stages.artifacts.records import FileEntry
from stages.duplicates.slices import num_slices, read_slice, read_slices, slice_of, write_slices
from stages.store.errors import StoreError
from stages.store.store import Store

FIELDS = [("key", "<u8"), ("number", "<u4")]


def records_of(keys: np.ndarray) -> np.ndarray:
    records = np.empty(len(keys), FIELDS)
    records["key"], records["number"] = keys, np.arange(len(keys))
    return records


def entry_of(store: Store, name: str) -> FileEntry:
    size_bytes = store.size_bytes(name)
    assert size_bytes is not None
    return FileEntry(name=name, key=name, size_bytes=size_bytes, sha256="0" * 64)


def written(store: Store, tmp_path: Path, name: str, records: np.ndarray, of: int) -> FileEntry:
    write_slices(tmp_path / "file", records, slice_of(records["key"], of), of)
    key = f"artifacts/made/{'0' * 64}/{name}"
    store.upload(tmp_path / "file", key)
    return entry_of(store, key)


@pytest.mark.parametrize("of", [1, 2, 7, 300])
def test_each_record_is_in_one_slice(of: int, tmp_path: Path) -> None:
    store, chance = Store(tmp_path / "store"), np.random.default_rng(of)
    parts = [records_of(chance.integers(0, 2**64, size, np.uint64, endpoint=False)) for size in (0, 1, 500)]
    entries = [written(store, tmp_path, str(number), part, of) for number, part in enumerate(parts)]
    found = [read_slices(store, entries, number, of=of, fields=FIELDS) for number in range(of)]
    for number, records in enumerate(found):
        assert (slice_of(records["key"], of) == number).all()
        whole = np.concatenate(parts)
        assert (records == whole[slice_of(whole["key"], of) == number]).all()
    assert sum(map(len, found)) == 501


def test_slices_are_equal_ranges_of_the_keys() -> None:
    keys = np.array([0, 2**62, 2**63 - 1, 2**63, 2**64 - 1], np.uint64)
    assert slice_of(keys, 2).tolist() == [0, 0, 0, 1, 1]
    assert slice_of(keys, 4).tolist() == [0, 1, 1, 2, 3]
    assert (num_slices(0), num_slices(2**22), num_slices(2**22 + 1)) == (1, 1, 2)


def test_a_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    entry = written(store, tmp_path, "keys", records_of(np.arange(100, dtype=np.uint64)), 1)
    assert store.folder is not None
    path = store.folder / entry.key
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(StoreError, match=r"made/0+/keys cannot be read from byte 16 on.*neo audit"):
        read_slice(store, entry, 0, of=1, fields=FIELDS)
