"""The Ray-free backend: ranks of a gang as processes, their events and their failures brought back."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from cluster.local import local_context, make
from stages.artifacts.records import ItemBalance
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.attempt import AttemptId
from stages.commit.checkpoints import CheckpointRecords
from stages.contract import (
    Event,
    GangLayout,
    InterruptedRunError,
    NumbersReported,
    Part,
    PartDraft,
    PinnedSource,
    Rank,
    Recipe,
    Source,
    StageContext,
    StageError,
    StepBusy,
    stage,
)
from stages.origins.files import open_file
from stages.store.store import Store
from tests.worlds.cluster_world import CountRecipe, Numbers, SumRecipe, add_up, commit_together, count, first_of


def train(rank: Rank) -> None:
    rank.busy("reading the model")
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


def report_environment(rank: Rank) -> None:
    rank.report({"asked": float(os.environ.get("ASKED_OF_RANKS", "nan"))}, at_step=1)


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
    told = [event.doing for event in events if isinstance(event, StepBusy)]
    assert told == ["starting 2 ranks", "reading the model"], "rank 0 alone says what the ranks are busy with"


def test_the_first_failure_is_the_cause_and_keeps_its_kind(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="step 'toy': rank 1 of 2 failed: ValueError: rank one cannot count"):
        run(fail_on_one, tmp_path)
    with pytest.raises(InterruptedRunError, match="stopped after step 2"):
        run(interrupt, tmp_path)


@pytest.mark.parametrize("asked", ["1", "2"])
def test_ranks_have_the_environment_of_their_caller_now(
    asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server that forks them was started once, with another one."""
    monkeypatch.setenv("ASKED_OF_RANKS", asked)
    events: list[Event] = []
    writer = ArtifactWriter(Store(tmp_path), "artifacts/toy/0", step="toy", attempt=AttemptId("run", 1))
    with local_context(writer, events.append) as context:
        context.run_ranks(report_environment)
    assert [event.numbers for event in events if isinstance(event, NumbersReported)] == [{"asked": float(asked)}]


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


class LinesRecipe(Recipe):
    source: Source
    """The text files whose lines are counted."""


def count_lines(part: Part, draft: PartDraft, source: PinnedSource) -> None:
    with open_file(source.place, source.files[int(part.name)]) as file:
        num_lines = len(file.readlines())
    draft.path("number.txt").write_text(str(num_lines))
    draft.count(ItemBalance(kept=num_lines))


@stage(number=1, recipe=LinesRecipe, makes=Numbers)
def lines(recipe: LinesRecipe, *, ctx: StageContext) -> None:
    source = ctx.pinned(recipe.source)
    parts = [Part(name=str(number)) for number in range(len(source.files))]
    ctx.spread(partial(count_lines, source=source), over=parts, phase="count")


def test_a_stage_reads_its_source_and_other_content_is_another_artifact(tmp_path: Path) -> None:
    step = lines.bind("lines", LinesRecipe(source=Source("poem")))
    poem = tmp_path / "poem"
    poem.mkdir()
    (poem / "a.txt").write_text("one\ntwo\n")
    (poem / "b.txt").write_text("three\n")

    def made() -> Numbers:
        return make(step, tmp_path / "store", sources={"poem": str(poem)})

    first = made()
    assert first.manifest.items.kept == 3
    assert first.manifest.recipe["source"]["digest"] is not None
    assert made().fingerprint == first.fingerprint
    (poem / "b.txt").write_text("three\nfour\n")
    second = made()
    assert (second.manifest.items.kept, second.fingerprint != first.fingerprint) == (4, True)
    with pytest.raises(StageError, match="source 'poem' is not pinned"):
        make(step, tmp_path / "store")
