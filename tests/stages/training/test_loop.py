"""Training from end to end on two ranks: killed, stopped, overtaken and poisoned, it ends the same or says why not."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from stages.contract import GangLayout
from stages.store import Store
from stages.train_prebuffer import TrainPrebufferRecipe, train_prebuffer
from tests.stages.training.small_world import LlmRecipe, RowsRecipe, SmallWorld, make_llm, make_rows

RECIPE = TrainPrebufferRecipe(
    num_steps=6,
    rows_per_step=8,
    num_prebuffer_layers=1,
    patch_hidden=16,
    peak_learning_rate=1e-2,
    num_warmup_steps=2,
    precision="fp32",
    checkpoint_every_steps=2,
)
LLM = make_llm.bind("llm", LlmRecipe())
ROWS = make_rows.bind("rows", RowsRecipe(), LLM)


def two_ranks(zero_stage: int = 2) -> GangLayout:
    return GangLayout(num_ranks=2, zero_stage=zero_stage, micro_rows=2)


def training(name: str = "prebuffer", rows=ROWS, **changes):
    return train_prebuffer.bind(name, RECIPE.model_copy(update=changes), [rows], LLM)


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    return SmallWorld(Store(tmp_path / "store"))


def split_everything(rank) -> None:
    """Let ZeRO-3 partition even the smallest parameter."""
    from stages.training.engine import config

    config.PERSISTENT_PARAMETER_VALUES = 0


def die_after(rank, step: int) -> None:
    """Rank 1 is killed once the checkpoint at `step` is committed."""
    split_everything(rank)
    commit = rank.commit

    def commit_and_die(folder, at_step, facts):
        record = commit(folder, at_step, facts)
        if at_step == step and rank.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return record

    rank.commit = commit_and_die


@pytest.mark.parametrize("zero_stage", [2, 3])
def test_a_killed_run_ends_as_one_that_was_not(zero_stage: int, tmp_path: Path) -> None:
    straight, killed = SmallWorld(Store(tmp_path / "straight")), SmallWorld(Store(tmp_path / "killed"))
    whole = straight.make(training(), two_ranks(zero_stage), trouble=split_everything)
    with pytest.raises(Exception, match="SIGKILL|Connection|peer"):
        killed.make(training(), two_ranks(zero_stage), trouble=partial(die_after, step=4))
    assert [record.facts["step"] for record in killed.making(training()).checkpoints()] == [2, 4]
    again = killed.make(training(), two_ranks(zero_stage), trouble=split_everything)
    assert again.content == whole.content
    assert [record.facts["step"] for record in killed.making(training()).checkpoints()] == [2, 4, 6]
    assert again.parts[-1].facts["unmoved"] == []
