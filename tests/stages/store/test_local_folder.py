"""Ranges of files that stay open: as many as a process may, from any thread, and what lies there now when asked."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stages.store.local_folder import MAX_KEPT_OPEN, close_kept_files
from stages.store.store import Store

NUM_FILES = MAX_KEPT_OPEN + 50


def num_open() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_files_stay_open_up_to_a_bound_whoever_reads(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(NUM_FILES):
        (tmp_path / f"{number}").write_bytes(b"%08d" % number)
    close_kept_files()
    before = num_open()
    numbers = [number for _ in range(5) for number in range(NUM_FILES)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: store.read_range(f"{number}", 0, 8, keep_open=True), numbers))
    assert found == [b"%08d" % number for number in numbers]
    assert num_open() == before + MAX_KEPT_OPEN
    close_kept_files()
    assert num_open() == before


def test_only_who_asks_for_it_reads_from_a_file_that_was_replaced(tmp_path: Path) -> None:
    store, path = Store(tmp_path), tmp_path / "a"
    path.write_bytes(b"old")
    assert store.read_range("a", 0, 3, keep_open=True) == b"old"
    path.rename(tmp_path / "b")
    path.write_bytes(b"new")
    assert store.read_range("a", 0, 3) == b"new"
    assert store.read_range("a", 0, 3, keep_open=True) == b"old"
    close_kept_files()
    assert store.read_range("a", 0, 3, keep_open=True) == b"new"
