"""The plan part against a plain one that holds everything in memory; bytes that no bucket size changes."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cluster.local import make
from stages.artifacts.kinds import MEASURED_DOCUMENTS_FILE, PLANNED_FILE, PLANNED_PARTS_FILE, SAMPLE_ROWS_FILE, Rows
from stages.artifacts.records import sha256_of
from stages.commit.parts import Draft
from stages.contract import Part
from stages.formats.packed_rows.sample_index import ENTRY_BYTES
from stages.formats.permutation import scatter
from stages.formats.sample_table import read_table
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.packing.bin_packing import plan_rows
from stages.packing.plan import plan_part
from stages.packing.plan_file import PLANNED_BYTES, PLANNED_FIELDS, PlannedPart, planned_parts, read_planned
from stages.store.errors import StoreError
from stages.store.store import Store
from tests.worlds.mixture_world import CHATS, KEPT, LLM, TEXTS

MIX = mix_samples.bind(
    "mix",
    MixRecipe(shares={"pairs": 2, "text": 1, "chat": 1}, max_epochs={"pairs": 3, "text": 3, "chat": 3}),
    {"pairs": KEPT, "text": TEXTS, "chat": CHATS},
)
RECIPE = PackRowsRecipe(
    max_row_tokens=256, max_sample_tokens=40, min_pixels_px=4096, max_pixels_px=65_536, num_rows_per_part=3
)
"""Texts are cut into pieces, and some pictures are too large for their sample."""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return make(pack_rows.bind("rows", RECIPE, MIX, LLM), Store(tmp_path_factory.mktemp("store")))


def documents_in_draw_order(rows: Rows) -> list[dict]:
    tables = (read_table(rows.read(record.file(MEASURED_DOCUMENTS_FILE))) for record in rows.phase("measure"))
    found = [{**row, "measured": number} for number, table in enumerate(tables) for row in table.to_pylist()]
    return sorted(found, key=lambda row: (row["place"], row["piece"]))


def plainly_planned(rows: Rows) -> list[tuple]:
    """Row, sample id and the record in `planned.bin` of every document in order, all in memory."""
    documents = documents_in_draw_order(rows)
    lengths = np.array([document["num_tokens"] for document in documents])
    key = f"{RECIPE.seed}/rows"
    plan = plan_rows(lengths, row_tokens=RECIPE.max_row_tokens, key=key)
    found = []
    for row, (start, end) in enumerate(pairwise(plan.row_starts.tolist())):
        numbers = plan.documents[start:end]
        for number in sorted(numbers.tolist(), key=dict(zip(numbers.tolist(), scatter(numbers, key), strict=True)).get):
            document = documents[number]
            record = (row, *(document[name] for name, _ in PLANNED_FIELDS[1:]))
            found.append((row, document["sample_id"], record))
    return found


def test_the_plan_is_the_one_that_is_made_in_memory(packed: Rows) -> None:
    expected = plainly_planned(packed)
    assert {record[-1] for _, _, record in expected} >= {0, 1}, "some texts are cut"
    assert {record[-2] for _, _, record in expected} >= {0, 1}, "some samples are drawn again"
    plan = packed.part("plan")
    found = np.frombuffer(packed.read(plan.file(PLANNED_FILE)), PLANNED_FIELDS)
    assert found.tolist() == [record for _, _, record in expected]
    entries = packed.read(plan.file(SAMPLE_ROWS_FILE))
    held = [entries[start : start + ENTRY_BYTES] for start in range(0, len(entries), ENTRY_BYTES)]
    assert [(entry[:16], int.from_bytes(entry[16:], "little")) for entry in held] == sorted(
        {(sample_id, row) for row, sample_id, _ in expected}
    )


def test_parts_share_out_all_rows_and_all_drawings(packed: Rows) -> None:
    parts = [PlannedPart(**part.task) for part in planned_parts(packed.store, packed.part("plan"))]
    facts = packed.part("plan").facts
    assert sum(part.num_rows for part in parts) == facts["num_rows"]
    assert sum(part.num_documents for part in parts) == facts["num_documents"]
    assert facts["dropped"]["too_long"] > 0
    drawn = sum(record.items.total for record in packed.phase("measure"))
    assert sum(part.num_samples for part in parts) == drawn == packed.manifest.items.total
    for before, after in pairwise(parts):
        assert after.first_row == before.first_row + before.num_rows
        assert after.first_document == before.first_document + before.num_documents
        assert after.first_measured == before.until_measured
    assert (parts[0].first_measured, parts[-1].until_measured) == (0, len(packed.phase("measure")))


@pytest.mark.parametrize("num_records", [1, 7, 50])
def test_the_same_bytes_at_any_bucket_size(
    packed: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_records: int
) -> None:
    monkeypatch.setattr("stages.formats.external_sort.RECORDS_PER_BUCKET", num_records)
    monkeypatch.setattr("stages.packing.plan.RECORDS_AT_ONCE", num_records)
    plan, draft = packed.part("plan"), Draft(tmp_path, lambda _: None)
    task = {"key": "0/rows", "row_tokens": 256, "window_documents": None, "num_rows_per_part": 3}
    plan_part(Part(name="plan", task=task), draft, store=packed.store, measured=packed.phase("measure"))
    assert {name: sha256_of(path) for name, path in draft.files()} == {file.name: file.sha256 for file in plan.files}
    assert draft.facts == plan.facts
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()].count("drawn.bin") == 0


def test_a_plan_that_is_damaged_is_found_by_the_part_that_reads_it(packed: Rows) -> None:
    plan = packed.part("plan")
    path = packed.store.folder / plan.file(PLANNED_FILE).key
    first, second = (PlannedPart(**part.task) for part in planned_parts(packed.store, plan)[:2])
    whole = path.read_bytes()
    try:
        at = second.first_document * PLANNED_BYTES
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert len(read_planned(packed.store, plan, first)) == first.num_documents
        with pytest.raises(StoreError, match=rf"planned\.bin is damaged between the bytes {at} and .*neo audit"):
            read_planned(packed.store, plan, second)
        path.write_bytes(whole[: at + 1])
        with pytest.raises(StoreError, match=r"planned\.bin cannot be read .*cut short.*neo audit"):
            read_planned(packed.store, plan, second)
    finally:
        path.write_bytes(whole)


def test_the_plan_says_all_parts_in_files_that_do_not_grow_in_number(packed: Rows) -> None:
    """Its record travels to every worker, whether there are ten parts to write or forty thousand."""
    plan = packed.part("plan")
    assert len(plan.files) == 4 and PLANNED_PARTS_FILE in {file.name for file in plan.files}
    assert len(plan.model_dump_json()) < 3000
