"""Full disks, under the store and under the scratch folder: said by name, nothing half visible, and going on later."""

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.artifacts.records import PartRecord
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.attempt import AttemptId
from stages.commit.checkpoints import CheckpointWriter
from stages.commit.parts import PartWriter
from stages.commit.scratch import scratch_folder
from stages.contract import Part, PartDraft
from stages.store.errors import DiskFullError, StoreDeniedError, is_full
from stages.store.file_cache import FileCache
from stages.store.local_files import local_file
from stages.store.metadata import open_store
from stages.store.store import Store
from tests.small_disk import SmallDisk

PART = Part(name="00000")


def write_half_a_megabyte(part: Part, draft: PartDraft) -> None:
    draft.path("pairs.tar").write_bytes(os.urandom(512 * 1024))


def write_safetensors(part: Part, draft: PartDraft) -> None:
    """Its writer is in Rust: the error has a text, no number."""
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"weight": np.zeros(512 * 1024, np.uint8)}, draft.path("model.safetensors"))


def write_parquet(part: Part, draft: PartDraft) -> None:
    import pyarrow as pa

    from stages.formats.sample_table import write_table

    write_table(pa.table({"bytes": [os.urandom(512 * 1024)]}), draft.path("samples.parquet"))


def writer(store: Store) -> ArtifactWriter:
    return ArtifactWriter(store, "artifacts/write/0123", step="write", attempt=AttemptId("run", 1))


def parts(store: Store) -> PartWriter:
    return PartWriter(writer(store), post=lambda _: None)


def checkpoints(store: Store) -> CheckpointWriter:
    return CheckpointWriter(writer(store), post=lambda _: None, num_ranks=1)


@pytest.fixture
def small_scratch(disk: SmallDisk, monkeypatch: pytest.MonkeyPatch) -> SmallDisk:
    monkeypatch.setattr(tempfile, "tempdir", str(disk.folder))
    return disk


@pytest.mark.parametrize("work", [write_half_a_megabyte, write_safetensors, write_parquet], ids=lambda w: w.__name__)
def test_a_full_scratch_disk_is_named_and_left_clean_and_the_part_is_made_later(
    work: Callable[[Part, PartDraft], None], small_scratch: SmallDisk, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    small_scratch.leave(100 * 1024)
    place = re.escape(str(small_scratch.folder))
    said = rf"local disk under {place} is full .* of 1\.05 MB free.*TMPDIR.*run the command again"
    with pytest.raises(DiskFullError, match=said):
        parts(store).make_part(work, "write", PART)
    assert list(small_scratch.folder.iterdir()) == [small_scratch.ballast]
    assert list(store.keys("")) == []
    small_scratch.free()
    record = parts(store).make_part(work, "write", PART)
    assert store.size_bytes(record.files[0].key) == record.files[0].size_bytes


def test_a_scratch_disk_on_which_no_folder_can_be_made_is_named_too(small_scratch: SmallDisk) -> None:
    small_scratch.leave(0)
    with pytest.raises(DiskFullError, match="local disk"), scratch_folder("write") as scratch:
        (scratch / "one").write_bytes(bytes(8192))


def test_a_part_that_does_not_fit_the_store_leaves_no_trace_in_it(disk: SmallDisk) -> None:
    store = Store(disk.folder / "store")
    open_store(store)
    disk.leave(100 * 1024)
    before = list(store.keys(""))
    with pytest.raises(DiskFullError, match=rf"the store {re.escape(store.url)} is full .*could not upload artifacts/"):
        parts(store).make_part(write_half_a_megabyte, "write", PART)
    assert list(store.keys("")) == before
    assert not list((disk.folder / "store").rglob("*#*")), "no half object of the engine"
    disk.free()
    parts(store).make_part(write_half_a_megabyte, "write", PART)
    assert parts(store).record("write", PART.name) is not None


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before_untouched(disk: SmallDisk, tmp_path: Path) -> None:
    store = Store(disk.folder / "store")
    first = commit_checkpoint(store, 0, tmp_path / "step-10", num_bytes=200 * 1024)
    disk.leave(100 * 1024)
    with pytest.raises(DiskFullError, match=r"could not upload .*/step-00000020-"):
        commit_checkpoint(store, 1, tmp_path / "step-20", num_bytes=200 * 1024)
    assert checkpoints(store).latest() == first
    assert checkpoints(store).kept() == [first]
    checkpoints(store).fetch(first, tmp_path / "fetched")
    disk.free()
    assert commit_checkpoint(store, 1, tmp_path / "step-20", num_bytes=200 * 1024).part == "000001"


def test_a_record_that_does_not_fit_is_not_there_in_part(disk: SmallDisk) -> None:
    store = Store(disk.folder / "store")
    store.create("seed", b"")
    disk.leave(4 * 1024)
    with pytest.raises(DiskFullError, match=r"could not create records/a\.json"):
        store.create("records/a.json", bytes(64 * 1024))
    assert store.read("records/a.json") is None
    disk.free()
    assert store.create("records/a.json", bytes(64 * 1024))


def test_a_copy_that_does_not_fit_the_cache_is_not_taken_for_whole(bucket: str, disk: SmallDisk) -> None:
    store = Store(bucket)
    store.create("rows.tar", bytes(512 * 1024))
    disk.leave(100 * 1024)
    cache = FileCache(disk.folder / "cache", 1 << 30)
    with pytest.raises(DiskFullError, match="local disk"), local_file(store, "rows.tar", 512 * 1024, cache):
        pass
    assert [path.name for path in cache.folder.iterdir()] == ["index.json"]
    disk.free()
    with local_file(store, "rows.tar", 512 * 1024, cache) as path:
        assert path.stat().st_size == 512 * 1024


def test_permission_taken_away_from_a_folder_is_no_full_disk_and_no_torn_record(disk: SmallDisk) -> None:
    store = Store(disk.folder / "store")
    store.create("records/a.json", b"{}")
    disk.forbid_writing()
    for attempt in (lambda: store.create("records/b.json", b"{}"), lambda: store.quarantine("records/a.json")):
        with pytest.raises(StoreDeniedError, match=r"does not permit to .*Read-only file system"):
            attempt()
    assert store.read_json("records/a.json") == {}
    disk.permit_writing()
    assert store.create("records/b.json", b"{}")


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    assert not is_full(FileNotFoundError(2, "No such file or directory"))
    assert not is_full(ValueError("row 28 of 28"))
    with pytest.raises(ValueError, match="row 28"), scratch_folder("write"):
        raise ValueError("row 28 of 28")


def commit_checkpoint(store: Store, number: int, folder: Path, num_bytes: int) -> PartRecord:
    folder.mkdir(exist_ok=True)
    (folder / "rank-00000.safetensors").write_bytes(os.urandom(num_bytes))
    step, ours = (number + 1) * 10, checkpoints(store)
    ours.latest()
    assert ours.next_number == number
    return ours.commit(ours.upload(folder, step), step, facts={})
