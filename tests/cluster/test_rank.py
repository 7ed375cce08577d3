"""One rank: how long a checkpoint took is told once for each, from the first byte sent to the commit."""

from pathlib import Path

import pytest

from cluster import rank
from cluster.rank import TimedCheckpoints
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.attempt import AttemptId
from stages.contract import Event, WarningPosted
from stages.store.store import Store


def test_each_checkpoint_is_timed_from_its_first_upload_to_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_seconds = iter([10.0, 45.0, 60.0, 61.5])
    monkeypatch.setattr(rank.time, "monotonic", lambda: next(now_seconds))
    took: list[float] = []
    store = Store(tmp_path / "store")
    writer = ArtifactWriter(store, "artifacts/train/0123456789ab", step="train", attempt=AttemptId("run", 1))
    posted: list[Event] = []
    checkpoints = TimedCheckpoints(writer, posted.append, 1, took=took.append, max_silent_seconds=60)
    assert checkpoints.latest() is None
    for step in (1, 2):
        folder = tmp_path / str(step)
        folder.mkdir()
        (folder / "state.bin").write_bytes(bytes([step]))
        checkpoints.commit(checkpoints.upload(folder, step), step, {})
    assert took == [35.0, 1.5]
    assert [record.facts["step"] for record in checkpoints.kept()] == [1, 2]
    (warning,) = [event.message for event in posted if isinstance(event, WarningPosted)]
    assert warning.startswith("the checkpoint at step 1 took 35 s to store, more than half of max_silent_seconds = 60")
