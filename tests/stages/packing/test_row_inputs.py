"""The inputs of rows: asked for side by side, neighbours together, and the same as one by one."""

from threading import Barrier

import numpy as np
import pytest

from cluster.local import make
from stages.artifacts.kinds import DOCUMENT_RECORDS_FILE, MEASURE_PHASE, PLAN_PART, PLAN_PHASE, Draw, Rows
from stages.formats import read_ahead
from stages.formats.sample_sources import drawn_sources
from stages.pack_rows import pack_rows
from stages.packing.document_records import from_record
from stages.packing.plan_file import PlannedPart, planned_parts, read_planned
from stages.packing.row_inputs import RowInputs
from stages.store.errors import StoreError
from stages.store.store import Store
from tests.stages.formats.packed_rows.test_rows import LLM, MIX, RECIPE

Planned = tuple[RowInputs, list]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return make(pack_rows.bind("rows", RECIPE, MIX, LLM), Store(tmp_path_factory.mktemp("store")))


@pytest.fixture
def planned(rows: Rows) -> Planned:
    """The inputs of the rows, and the planned documents of each row of the first two parts."""
    plan = rows.part(PLAN_PART, PLAN_PHASE)
    inputs = RowInputs.of(rows.store, drawn_sources(rows.input("draw", Draw)), rows.phase(MEASURE_PHASE))
    documents = np.concatenate(
        [read_planned(rows.store, plan, PlannedPart.of(part)) for part in planned_parts(rows.store, plan)[:2]]
    )
    return inputs, np.split(documents, np.flatnonzero(np.diff(documents["row"])) + 1)


def read_one_by_one(inputs: RowInputs, row: np.ndarray) -> list[tuple[bytes, list[bytes]]]:
    """Sample and pictures of each document, by a request each."""
    found = []
    for _, measured, offset, size_bytes, _, _ in row.tolist():
        part = inputs.measured[measured]
        document = from_record(inputs.store.read_range(part.records_key, offset, size_bytes))
        images = [inputs.pictures[part.source].image_of(image) for image in document.images]
        found.append((document.sample_id, images))
    return found


@pytest.mark.parametrize("gap_bytes", [read_ahead.MAX_GAP_BYTES, -1])
def test_rows_hold_what_reading_one_by_one_gives(
    gap_bytes: int, planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_ahead, "MAX_GAP_BYTES", gap_bytes)
    inputs, documents = planned
    contents = list(inputs.read_rows(documents))
    assert [content.number for content in contents] == list(range(len(documents)))
    for content, row in zip(contents, documents, strict=True):
        expected = read_one_by_one(inputs, row)
        assert [facts.sample_id for facts in content.facts] == [sample_id for sample_id, _ in expected]
        assert content.images == [image for _, images in expected for image in images]


def test_what_a_row_needs_is_asked_for_at_once_and_neighbours_together(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No first answer comes before so many requests are there; one after the other, they never would be."""
    inputs, documents = planned
    num_alone = sum(1 + len(images) for row in documents for _, images in read_one_by_one(inputs, row))
    together, asked = Barrier(4, timeout=60), []
    plain = Store.read_range

    def held(store: Store, key: str, start: int, length: int, **options: bool) -> bytes:
        asked.append(key)
        if len(asked) <= 4:
            together.wait()
        return plain(store, key, start, length, **options)

    monkeypatch.setattr(Store, "read_range", held)
    assert len(list(inputs.read_rows(documents[:1]))) == 1
    assert not together.broken
    asked.clear()
    list(inputs.read_rows(documents))
    assert len(asked) < num_alone / 2


def test_a_missing_and_a_damaged_file_are_named(rows: Rows, planned: Planned) -> None:
    inputs, documents = planned
    path = rows.store.folder / rows.phase(MEASURE_PHASE)[0].file(DOCUMENT_RECORDS_FILE).key
    whole = path.read_bytes()
    try:
        path.write_bytes(bytes(len(whole)))
        with pytest.raises(StoreError, match=rf"{path.name} is damaged at byte \d+ .*neo audit"):
            list(inputs.read_rows(documents))
        path.write_bytes(whole[:10])
        with pytest.raises(StoreError, match=rf"{path.name} cannot be read .*cut short.*neo audit"):
            list(inputs.read_rows(documents))
    finally:
        path.write_bytes(whole)
