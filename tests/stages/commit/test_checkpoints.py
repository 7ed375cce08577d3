"""Checkpoints of a step, without ranks: which is the newest, who commits the next, what a rollback moves."""

from pathlib import Path

import pytest

from stages.artifacts.fingerprint import digest
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.attempt import AttemptId
from stages.commit.checkpoints import CheckpointRecords, CheckpointWriter, begin_fork, forkable
from stages.contract import Fork, PartRecord, StageError, SupersededError
from stages.store.errors import DamagedFileError, TornRecordError
from stages.store.store import Store

FOLDER = "artifacts/train/0123456789ab"
RECORDS = f"{FOLDER}/records/steps"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def records(store: Store) -> CheckpointRecords:
    return CheckpointRecords(store, FOLDER)


def rank_of(store: Store, attempt: int = 1) -> CheckpointWriter:
    """What rank 0 of an attempt has, after it has looked for the newest checkpoint as training does."""
    writer = ArtifactWriter(store, FOLDER, step="train", attempt=AttemptId("run", attempt))
    checkpoints = CheckpointWriter(writer, post=lambda _: None, num_ranks=1)
    checkpoints.latest()
    return checkpoints


def commit(checkpoints: CheckpointWriter, folder: Path, step: int) -> PartRecord:
    files = folder / f"{checkpoints.writer.attempt}-{step}"
    (files / "state").mkdir(parents=True)
    (files / "state" / "rank-00000.safetensors").write_bytes(bytes([step]) * 100)
    (files / "facts.json").write_text("{}")
    return checkpoints.commit(checkpoints.upload(files, step), step, {"loss": 1 / step})


def steps(found: list[PartRecord]) -> list[int]:
    return [record.facts["step"] for record in found]


def test_the_last_committed_checkpoint_is_the_newest_and_the_next_follows_it(store: Store, tmp_path: Path) -> None:
    assert records(store).latest() is None
    first, second = (commit(rank_of(store, attempt), tmp_path, step=10 * attempt) for attempt in (1, 2))
    assert [record.part for record in (first, second)] == ["000000", "000001"]
    assert records(store).latest() == second
    assert steps(records(store).committed()) == [10, 20]


def test_one_of_two_that_continue_from_the_same_checkpoint_is_superseded(store: Store, tmp_path: Path) -> None:
    ours, other = rank_of(store, 1), rank_of(store, 2)
    winner = commit(other, tmp_path, 10)
    with pytest.raises(SupersededError, match="checkpoint 0 was committed by run-2; attempt run-1 stops here"):
        commit(ours, tmp_path, 10)
    assert records(store).committed() == [winner]


def test_a_deleted_checkpoint_keeps_its_record_and_loses_its_files(store: Store, tmp_path: Path) -> None:
    rank = rank_of(store)
    old, new = commit(rank, tmp_path, 10), commit(rank, tmp_path, 20)
    rank.delete(old)
    assert steps(records(store).committed()) == [10, 20]
    assert steps(rank.kept()) == [20] and rank.latest() == new
    assert [store.size_bytes(entry.key) for entry in old.files] == [None, None]
    assert store.read_json(f"{RECORDS}/000000.json.deleted") == {"attempt": "run-1"}


def test_a_rollback_quarantines_what_came_after_and_training_continues_there(store: Store, tmp_path: Path) -> None:
    rank = rank_of(store)
    whole, *lost = [commit(rank, tmp_path, step) for step in (10, 20, 30)]
    rank.delete(lost[0])
    rank.roll_back(whole, "its file is missing")
    assert rank.latest() == whole and rank.next_number == 1
    for number in (1, 2):
        assert store.size_bytes(f"{RECORDS}/00000{number}.json") is None
        assert store.size_bytes(f"{RECORDS}/00000{number}.json.damaged-0") is not None
    assert store.read_json(f"{FOLDER}/repairs/0.json") == {f"{RECORDS}/000002.json": "its file is missing"}
    assert commit(rank_of(store, 2), tmp_path, 20).part == "000001"
    assert steps(rank.kept()) == [10, 20], "the mark of the checkpoint that was deleted has gone with it"


def test_a_rollback_begins_with_the_newest_so_that_no_kill_leaves_a_gap(store: Store, tmp_path: Path) -> None:
    rank = rank_of(store)
    first, *_ = [commit(rank, tmp_path, step) for step in (10, 20, 30)]
    moved = [key.rpartition("/")[2] for key in records(store).keys_after(first)]
    assert moved == ["000002.json.deleted", "000002.json", "000001.json.deleted", "000001.json"]
    assert len(records(store).keys_after(None)) == 6


def test_a_torn_newest_record_is_an_error_and_the_others_are_still_listed(store: Store, tmp_path: Path) -> None:
    rank = rank_of(store)
    commit(rank, tmp_path, 10), commit(rank, tmp_path, 20)
    for torn in (b'{"phase": "ste', b'{"phase": "steps"}'):
        store.overwrite(f"{RECORDS}/000001.json", torn)
        with pytest.raises(TornRecordError, match=r"000001\.json"):
            rank.latest()
        assert steps(rank.kept()) == [10]


def test_files_are_fetched_by_prefix_and_checked(store: Store, tmp_path: Path) -> None:
    rank = rank_of(store)
    record = commit(rank, tmp_path, 10)
    rank.fetch(record, tmp_path / "fetched", "state/")
    assert [path.name for path in (tmp_path / "fetched").iterdir()] == ["state"]
    assert (tmp_path / "fetched" / "state" / "rank-00000.safetensors").read_bytes() == bytes([10]) * 100
    state = record.file("state/rank-00000.safetensors")
    store.overwrite(state.key, bytes([11]) * 100)
    with pytest.raises(DamagedFileError, match="is damaged: its sha256 is not the committed"):
        rank.fetch(record, tmp_path / "again")
    store.delete(state.key)
    with pytest.raises(DamagedFileError, match="is missing"):
        rank.fetch(record, tmp_path / "again")


def forking(store: Store, record: PartRecord) -> ArtifactWriter:
    """What an attempt has whose training begins from this checkpoint."""
    fork = Fork(
        stage="train", fingerprint="0123456789ab", at_step=record.facts["step"], content=digest(record.content),
        recipe={}, inputs={}, course=(),
    )  # fmt: skip
    return ArtifactWriter(store, "artifacts/train/ffff", step="fork", attempt=AttemptId("fork", 1), fork=fork)


def commit_state(checkpoints: CheckpointWriter, folder: Path, step: int) -> PartRecord:
    """A checkpoint with the state of the optimizer, of one file."""
    path = folder / str(step) / "state"
    path.parent.mkdir()
    path.write_bytes(bytes([step]))
    return checkpoints.commit(checkpoints.upload(path.parent, step), step, {"layout": {}})


def test_a_checkpoint_that_a_fork_begins_from_keeps_its_files(store: Store, tmp_path: Path) -> None:
    rank = rank_of(store)
    old, new = (commit_state(rank, tmp_path, step) for step in (10, 20))
    writer = forking(store, old)
    begin_fork(writer)
    rank.delete(old)
    assert steps(rank.kept()) == [10, 20] and store.size_bytes(old.files[0].key) == 1
    begun = CheckpointWriter(writer, post=lambda _: None, num_ranks=1)
    assert begun.origin() == old and begun.latest() is None and rank.origin() is None
    rank.roll_back(old, "a test")
    begin_fork(writer)
    assert begun.origin() == old
    rank.delete(new)


def test_a_fork_from_a_checkpoint_that_is_gone_names_those_that_are_kept(store: Store, tmp_path: Path) -> None:
    rank = rank_of(store)
    old, new = (commit_state(rank, tmp_path, step) for step in (10, 20))
    model = commit(rank, tmp_path, 30)
    assert forkable(rank.records) == [old, new], "the finished model has no state of the optimizer"
    rank.delete(old)
    for gone in (old, model, new.model_copy(update={"facts": {**new.facts, "loss": 1}})):
        with pytest.raises(StageError, match=r"is not there any more.*Kept are those of steps 20; begin from one"):
            begin_fork(forking(store, gone))
    assert not list(store.keys("artifacts/train/ffff/"))


@pytest.mark.parametrize("edge", ["fork.held:before", "fork.held:after", "fork.recorded:before", "fork.recorded:after"])
def test_a_fork_that_dies_as_it_begins_is_begun_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edge: str
) -> None:
    from stages.store import fault_points

    old = commit_state(rank_of(store), tmp_path, 10)
    writer = forking(store, old)
    monkeypatch.setattr(fault_points, "_passed", type(fault_points._passed)())
    monkeypatch.setenv(fault_points.FAULT, f"{edge}=raise")
    with pytest.raises(OSError, match="asked for by"):
        begin_fork(writer)
    monkeypatch.delenv(fault_points.FAULT)
    begin_fork(writer)
    assert CheckpointWriter(writer, post=lambda _: None, num_ranks=1).origin() == old


def test_a_fork_and_the_deletion_of_its_checkpoint_never_both_happen(store: Store, tmp_path: Path) -> None:
    """The mark of a deletion is there just before the checkpoint is held: the fork is refused."""
    rank = rank_of(store)
    old = commit_state(rank, tmp_path, 10)
    commit_state(rank, tmp_path, 20)
    writer = forking(store, old)
    create, marked = store.create_json, []

    def overtaken(key: str, content: object) -> bool:
        if key.endswith(".held") and not marked:
            marked.append(key)
            rank.delete(old)
        return create(key, content)

    object.__setattr__(store, "create_json", overtaken)
    with pytest.raises(StageError, match="that checkpoint was deleted just now; plan it again"):
        begin_fork(writer)
