"""From samples to rows: one small read for one, few for many, on a folder and on an object store."""

import random
from pathlib import Path

import numpy as np
import pytest

from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import SAMPLE_ROWS_FILE, SAMPLE_ROWS_OFFSETS_FILE
from stages.artifacts.manifest import Manifest
from stages.artifacts.records import FileEntry, PartRecord
from stages.contract import ItemBalance
from stages.formats.external_sort import Buckets
from stages.formats.packed_rows.sample_index import (
    ENTRY_BYTES,
    ENTRY_FIELDS,
    PREFIX_BITS,
    SampleIndex,
    halves,
    write_index,
)
from stages.store.errors import StoreError
from stages.store.store import Store

NUM_SAMPLES = 20_000


def entries_of(num_samples: int) -> list[tuple[bytes, int]]:
    """Each sample in one to three rows, every hundredth twice in one."""
    chance = random.Random(0)
    found = []
    for number in range(num_samples):
        sample_id = chance.randbytes(14) + bytes([0, 0]) if number % 2 else chance.randbytes(16)
        rows = chance.sample(range(2**32), chance.randint(1, 3))
        found += [(sample_id, row) for row in rows + rows[: number % 100 == 0]]
    chance.shuffle(found)
    return found


def index_in(store: Store, folder: Path, entries: list[tuple[bytes, int]]) -> SampleIndex:
    records = np.array(entries, ENTRY_FIELDS)
    fields = {"num_keys": 2**PREFIX_BITS, "num_records": len(records)}
    with Buckets(folder / "buckets", ENTRY_FIELDS, **fields) as buckets:
        for start in range(0, len(records), 1000):
            some = records[start : start + 1000]
            buckets.add(some, halves(some["sample_id"])[0] >> np.uint64(64 - PREFIX_BITS))
        write_index(buckets.drain(), len(records), folder / SAMPLE_ROWS_FILE, folder / SAMPLE_ROWS_OFFSETS_FILE)
    files = []
    for name in (SAMPLE_ROWS_FILE, SAMPLE_ROWS_OFFSETS_FILE):
        key = f"artifacts/pack_rows/0123456789ab/attempts/{name}"
        store.upload(folder / name, key)
        files.append(FileEntry(name=name, key=key, size_bytes=(folder / name).stat().st_size, sha256=""))
    manifest = Manifest(
        kind="Rows", stage="pack_rows", number=1, fingerprint="0123456789ab", recipe={}, inputs={},
        items=ItemBalance(), content="", versions={}, parts=(),
    )  # fmt: skip
    return SampleIndex(Artifact(store, manifest), PartRecord(phase="plan", part="plan", files=tuple(files)))


@pytest.fixture(scope="module")
def entries() -> list[tuple[bytes, int]]:
    return entries_of(NUM_SAMPLES)


@pytest.fixture(scope="module")
def index(entries: list[tuple[bytes, int]], tmp_path_factory: pytest.TempPathFactory) -> SampleIndex:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stages.formats.external_sort.RECORDS_PER_BUCKET", 3000)
        folder = tmp_path_factory.mktemp("index")
        return index_in(Store(folder / "store"), folder, entries)


def plainly(entries: list[tuple[bytes, int]]) -> dict[bytes, list[int]]:
    found: dict[bytes, set[int]] = {}
    for sample_id, row in entries:
        found.setdefault(sample_id, set()).add(row)
    return {sample_id: sorted(rows) for sample_id, rows in found.items()}


def test_every_sample_leads_to_its_rows(index: SampleIndex, entries: list[tuple[bytes, int]]) -> None:
    expected = plainly(entries)
    assert index.rows_of_many(expected) == expected
    for sample_id in list(expected)[:200]:
        assert index.rows_of(sample_id) == expected[sample_id]
    absent = [random.Random(-1 - number).randbytes(15) + b"x" for number in range(500)] + [bytes(16), b"\xff" * 16]
    assert index.rows_of_many(absent) == {}
    assert index.rows_of_many([]) == {}
    assert all(index.rows_of(sample_id) == [] for sample_id in absent[-5:])


def test_many_samples_lead_to_their_rows_together(index: SampleIndex, entries: list[tuple[bytes, int]]) -> None:
    expected = plainly(entries)
    absent = [random.Random(-1 - number).randbytes(15) + b"x" for number in range(500)]
    for some in ([*expected], [*expected][::7] + absent, absent, []):
        rows = {row for sample_id in some for row in expected.get(sample_id, ())}
        assert index.rows_holding(np.unique(np.array(some, "S16"))).tolist() == sorted(rows)


def test_an_entry_takes_20_bytes_and_stands_once(index: SampleIndex, entries: list[tuple[bytes, int]]) -> None:
    assert (
        index.record.file(SAMPLE_ROWS_FILE).size_bytes == ENTRY_BYTES * len(set(entries)) < ENTRY_BYTES * len(entries)
    )


def test_one_sample_costs_one_read_of_a_slot(
    index: SampleIndex, entries: list[tuple[bytes, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    plain = Store.read_range
    monkeypatch.setattr(Store, "read_range", lambda *a: asked.append(a[-1]) or plain(*a))
    for sample_id, _ in entries[:20]:
        asked.clear()
        assert index.rows_of(sample_id)
        assert len(asked) == 1 and 0 < asked[0] < 2 * 1024 * ENTRY_BYTES
    asked.clear()
    index.rows_of_many(sample_id for sample_id, _ in entries)
    assert len(asked) == 1, "samples that lie near each other are read together"


def test_few_entries_need_no_slots(tmp_path: Path) -> None:
    few = entries_of(3)
    assert index_in(Store(tmp_path / "store"), tmp_path, few).rows_of_many(plainly(few)) == plainly(few)


def test_an_object_store_answers_the_same(
    bucket: str, tmp_path: Path, entries: list[tuple[bytes, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.formats.packed_rows.sample_index.RANGE_BYTES", 100_000)  # several reads, side by side
    index, expected = index_in(Store(bucket), tmp_path, entries), plainly(entries)
    assert index.rows_of_many(expected) == expected
    sample_id = entries[0][0]
    assert index.rows_of(sample_id) == expected[sample_id]


def test_damage_is_named(index: SampleIndex, entries: list[tuple[bytes, int]]) -> None:
    path = index.artifact.store.folder / index.record.file(SAMPLE_ROWS_FILE).key
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(StoreError, match=r"sample_rows\.bin of .* cut short.*neo audit"):
            index.rows_of(b"\xff" * 16)
        path.write_bytes(whole[ENTRY_BYTES * 5000 :] + whole[: ENTRY_BYTES * 5000])
        with pytest.raises(StoreError, match=r"sample_rows\.bin of .* holds other samples than .*neo audit"):
            index.rows_of(entries[0][0])
    finally:
        path.write_bytes(whole)
