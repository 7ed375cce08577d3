"""Records by the thousand: copied on sheets, found again by few requests, and never decided by a listing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.local import local_context
from pipelines.planning.progress import read_progress
from stages.artifacts.records import ItemBalance, PartRecord
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.attempt import AttemptId
from stages.commit.parts import PartWriter
from stages.commit.phase_records import PhaseRecords, listed_parts, record_key
from stages.contract import Part, PartDraft
from stages.store.store import Store

FOLDER = "artifacts/toy/0123456789ab"
PHASE = "count"


class CountingStore(Store):
    """Counts what is read one by one, and can hide what it holds from listings, as a stale one does."""

    def __init__(self, url: str | Path) -> None:
        super().__init__(url)
        self.read_keys: list[str] = []
        self.lists_nothing = False

    def read(self, key: str) -> bytes | None:
        self.read_keys.append(key)
        return super().read(key)

    def keys(self, prefix: str, after: str | None = None) -> Iterator[str]:
        return iter(()) if self.lists_nothing else super().keys(prefix, after)


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> CountingStore:
    url = tmp_path / "store" if request.param == "folder" else request.getfixturevalue("bucket") + "/team"
    return CountingStore(url)


@pytest.fixture(autouse=True)
def small_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.commit.phase_records.PARTS_PER_BUNDLE", 4)


CALLS: list[str] = []


def count(part: Part, draft: PartDraft) -> None:
    CALLS.append(part.name)
    draft.fact(place=part.task["place"])
    draft.count(ItemBalance(kept=2, failed={"not_found": 1}))


def parts(number: int) -> list[Part]:
    return [Part(name=f"{place:03d}", task={"place": place}, num_items=3) for place in range(number)]


def writer(store: Store, attempt: str = "run-1") -> ArtifactWriter:
    return ArtifactWriter(store, FOLDER, step="toy", attempt=AttemptId.parse(attempt))


def spread(store: Store, number: int, attempt: str = "run-1", made: int | None = None) -> tuple[PartRecord, ...]:
    """Carry out a phase; with `made`, only its first parts, as an attempt does that is killed then."""
    CALLS.clear()
    with local_context(writer(store, attempt), lambda event: None) as context:
        if made is None:
            return context.spread(count, over=parts(number), phase=PHASE)
        recorded = PartWriter(context.writer, context.post).open_phase(PHASE, parts(number))
        missing = [part for part in parts(number)[:made] if part.name not in recorded.by_part]
        context.make_parts(count, missing, PHASE, recorded.add)
        return tuple(recorded.by_part.values())


def sheets(store: Store) -> list[str]:
    prefix = f"{FOLDER}/phases/{PHASE}/sheets/"
    return [key.removeprefix(prefix) for key in store.keys(prefix)]


def test_full_sheets_are_written_as_their_parts_are_made(store: CountingStore) -> None:
    made = spread(store, 10)
    assert sheets(store) == ["0.json", "1.json"]
    assert [record.part for record in made] == [part.name for part in parts(10)] == CALLS


def test_a_resume_reads_sheets_and_only_the_records_on_none(store: CountingStore) -> None:
    before = spread(store, 11, made=10)
    store.read_keys.clear()
    after = spread(store, 11, "run-2")
    assert CALLS == ["010"]
    assert after[:10] == before
    records = [key for key in store.read_keys if "/records/" in key]
    assert sorted(set(records)) == [record_key(FOLDER, PHASE, name) for name in ("008", "009", "010")]


def test_a_new_phase_asks_for_no_record_but_of_the_part_that_is_made(store: CountingStore) -> None:
    spread(store, 9)
    assert len([key for key in store.read_keys if "/records/" in key]) == 9


def test_what_a_listing_leaves_out_is_not_made_again(store: CountingStore) -> None:
    before = spread(store, 7, made=6)
    store.lists_nothing = True
    after = spread(store, 7, "run-2")
    assert CALLS == ["006"]
    assert after[:6] == before


def test_sheets_that_were_not_written_before_a_death_are_written_by_the_next(store: CountingStore) -> None:
    spread(store, 8)
    for sheet in sheets(store):
        store.delete(f"{FOLDER}/phases/{PHASE}/sheets/{sheet}")
    spread(store, 8, "run-2")
    assert CALLS == [] and sheets(store) == ["0.json", "1.json"]


def test_a_torn_sheet_is_moved_aside_and_its_records_are_read(store: CountingStore) -> None:
    before = spread(store, 8)
    key = f"{FOLDER}/phases/{PHASE}/sheets/1.json"
    store.overwrite(key, b'[{"phase": "cou')
    after = spread(store, 8, "run-2")
    assert CALLS == [] and after == before
    assert sheets(store) == ["0.json", "1.json", "1.json.torn-0"]


def test_an_attempt_that_was_overtaken_writes_no_sheet(store: CountingStore) -> None:
    records = PhaseRecords(store, FOLDER, PHASE, [part.name for part in parts(4)], may_write=lambda: False)
    for record in spread(Store(store.url), 4):
        store.delete(f"{FOLDER}/phases/{PHASE}/sheets/0.json")
        records.add(record)
    assert sheets(store) == []


@pytest.mark.parametrize("num_made", [0, 1, 4, 6, 10])
def test_progress_counts_what_is_recorded_with_sheets_and_without(store: CountingStore, num_made: int) -> None:
    spread(store, 10, made=num_made)
    assert read_progress(store, "toy", "0123456789ab").phases == {PHASE: (num_made, 10)}
    assert listed_parts(store, FOLDER, PHASE) == [part.name for part in parts(10)]
