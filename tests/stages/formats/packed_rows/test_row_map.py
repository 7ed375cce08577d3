"""The map of rows: what the indexes say, once for all processes of a host, and made again where it is missing."""

import gc
import os
import pickle
from pathlib import Path

import pytest

from stages.artifacts.artifact import open_artifact
from stages.artifacts.kinds import ROW_INDEX_FILE, Rows
from stages.formats.packed_rows.row_map import RowMap, make_map, map_key, mapped_rows
from stages.formats.packed_rows.rows import DamagedPartError, RowReader
from stages.store.errors import StoreError
from stages.store.store import Store
from tests.fault_proxy import fault_proxy
from tests.stages.formats.packed_rows.test_rows import Damage, committed, path_of, rows

__all__ = ["committed", "rows"]


@pytest.fixture(autouse=True)
def _no_map(rows: Rows) -> None:
    map_of(rows).unlink(missing_ok=True)


def map_of(rows: Rows) -> Path:
    return rows.store.folder / map_key(rows)


def test_a_map_says_what_the_indexes_say(rows: Rows) -> None:
    plain, mapped = RowReader(rows), RowReader.mapped(rows)
    numbers = range(plain.num_rows)
    assert mapped.num_rows == plain.num_rows
    assert mapped.works(numbers) == plain.works(numbers)
    for number in numbers:
        assert mapped.part_of(number) == plain.part_of(number)
        assert mapped.documents(number) == plain.documents(number)
        assert mapped.read(number).token_ids.tolist() == plain.read(number).token_ids.tolist()
    for outside in (-1, plain.num_rows):
        for ask in (mapped.read, mapped.work, mapped.part_of):
            with pytest.raises(IndexError, match=f"row {outside} is outside 0..{plain.num_rows - 1}"):
                ask(outside)
    assert mapped.works([]) == []


def test_a_map_is_made_once_and_two_times_the_same(rows: Rows) -> None:
    mapped_rows(rows)
    made, bytes_before = map_of(rows).stat(), map_of(rows).read_bytes()
    mapped_rows(rows)
    RowMap(rows).works([0])
    assert map_of(rows).stat().st_mtime_ns == made.st_mtime_ns
    make_map(rows)
    assert map_of(rows).read_bytes() == bytes_before


def test_who_maps_the_rows_reads_no_manifest_and_no_index(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    travelled = pickle.dumps(RowReader.mapped(mapped_rows(rows)))
    assert len(travelled) < len(pickle.dumps(rows))
    asked = []
    plain = Store.read

    def watched(store: Store, key: str) -> bytes | None:
        asked.append(key)
        return plain(store, key)

    monkeypatch.setattr(Store, "read", watched)
    reader = pickle.loads(travelled)  # noqa: S301
    assert [row.number for row in reader] == list(range(reader.num_rows))
    assert reader.works(range(reader.num_rows))
    assert asked == []
    assert reader.sample_ids(0) == reader.read(0).sample_ids
    assert asked == [rows.phase("write")[0].file(ROW_INDEX_FILE).key]


def test_a_machine_copies_the_map_of_an_object_store_once(
    rows: Rows, bucket: str, s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    there = Store(bucket)
    for key in rows.store.keys(rows.folder):
        there.upload(rows.store.folder / key, key)
    remote = mapped_rows(open_artifact(there, "pack_rows", rows.fingerprint, Rows))
    with fault_proxy(s3_server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        remote = Rows(Store(bucket), remote.head)
        maps = [RowMap(remote) for _ in range(3)]
        found = [one.works(range(one.num_rows)) for one in maps]
        assert found == [RowReader(rows).works(range(maps[0].num_rows))] * 3
        assert proxy.num_seen("GET", ".map") == 1
        assert proxy.num_seen("GET", ROW_INDEX_FILE) == proxy.num_seen("GET", "manifest.json") == 0
    cached = next(path for path in tmp_path.rglob("*") if path.is_file() and path.name != "index.json")
    assert len(shared_mappings(cached)) == 3
    del maps
    gc.collect()
    assert shared_mappings(cached) == []


def shared_mappings(path: Path) -> list[str]:
    """Where this process has a file in memory."""
    return [line for line in Path(f"/proc/{os.getpid()}/maps").read_text().splitlines() if line.endswith(str(path))]


def test_a_damaged_index_makes_no_map_and_is_met_by_who_reads(rows: Rows) -> None:
    with Damage(path_of(rows, 1, ROW_INDEX_FILE)) as damage:
        damage.flip(-500)
        travelled = mapped_rows(rows)
        assert not map_of(rows).exists()
        with pytest.raises(DamagedPartError, match="part 00001"):
            RowMap(travelled).works([0])
    assert RowMap(travelled).works([0])


@pytest.mark.parametrize("place", [0, 10, 50, 80, -1])
def test_a_damaged_map_is_not_believed(rows: Rows, place: int) -> None:
    make_map(rows)
    with Damage(map_of(rows)) as damage:
        damage.flip(place)
        with pytest.raises(StoreError, match=r"the map of Rows\(pack_rows/.* is damaged: remove it"):
            RowMap(rows).works([0])
        map_of(rows).write_bytes(b"")
        with pytest.raises(StoreError, match="is damaged: remove it"):
            RowMap(rows).works([0])
