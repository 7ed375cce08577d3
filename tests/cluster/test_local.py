"""The Ray-free backend: ranks of a gang as processes, their events and their failures brought back."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.local import local_context, make
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.attempt import AttemptId
from stages.commit.checkpoints import CheckpointRecords
from stages.contract import Event, GangLayout, InterruptedRunError, Rank, StageError
from stages.store.store import Store
from tests.worlds.cluster_world import CountRecipe, Numbers, SumRecipe, add_up, commit_together, count, first_of


def train(rank: Rank) -> None:
    rank.report({"loss": 0.5 + rank.rank}, at_step=3)
    assert not rank.should_stop()
    folder = rank.scratch / "checkpoint"
    folder.mkdir()
    (folder / f"rank{rank.rank}.txt").write_text(f"{rank.rank} of {rank.world_size}")
    commit_together(rank, folder, 3, {"zero_stage": rank.layout.zero_stage})


def fail_on_one(rank: Rank) -> None:
    if rank.rank == 1:
        raise ValueError("rank one cannot count")
    first_of(rank.should_stop())


def interrupt(rank: Rank) -> None:
    raise InterruptedRunError(f"stopped after step {rank.world_size}")


def run(rank_main: Callable[[Rank], None], folder: Path) -> tuple[list[Event], CheckpointRecords]:
    events: list[Event] = []
    store = Store(folder / "store")
    writer = ArtifactWriter(store, "artifacts/toy/0", step="toy", attempt=AttemptId("run", 1))
    checkpoints = CheckpointRecords(store, writer.folder)
    with local_context(writer, events.append, GangLayout(num_ranks=2, zero_stage=3)) as context:
        context.gang(rank_main)
        assert context.records == [checkpoints.latest()]
    return events, checkpoints


def test_ranks_commit_one_checkpoint_and_post_to_the_caller(tmp_path: Path) -> None:
    events, checkpoints = run(train, tmp_path)
    latest = checkpoints.latest()
    assert latest is not None
    assert [entry.name for entry in latest.files] == ["rank0.txt", "rank1.txt"]
    assert latest.facts == {"step": 3, "zero_stage": 3}
    assert sorted(event.numbers["loss"] for event in events if event.event == "numbers") == [0.5, 1.5]
    assert [event.at_step for event in events if event.event == "checkpoint"] == [3]


def test_the_first_failure_is_the_cause_and_keeps_its_kind(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="step 'toy': rank 1 of 2 failed: ValueError: rank one cannot count"):
        run(fail_on_one, tmp_path)
    with pytest.raises(InterruptedRunError, match="stopped after step 2"):
        run(interrupt, tmp_path)


def test_a_step_is_made_with_all_that_it_reads_and_reused_when_asked_for_again(tmp_path: Path) -> None:
    events: list[Event] = []
    counted = count.bind("counted", CountRecipe(diary=str(tmp_path / "diary"), num_parts=2))
    total = add_up.bind("total", SumRecipe(diary=str(tmp_path / "diary")), counted, counted)
    first = make(total, tmp_path / "store", post=events.append)
    assert isinstance(first, Numbers)
    assert [(event.step, event.outcome) for event in events if event.event == "ended"] == [
        ("counted", "committed"),
        ("total", "committed"),
    ]
    again = make(total, str(tmp_path / "store"), post=events.append)
    assert again.manifest == first.manifest
    assert [event.outcome for event in events if event.event == "ended"][2:] == ["reused", "reused"]
    assert Store(tmp_path / "store").read_json("store.json")["layout"] == 2
