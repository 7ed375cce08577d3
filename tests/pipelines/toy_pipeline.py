"""Pipelines of toy stages: a user's own file, as the command line takes it."""

from stages.train_prebuffer import TrainPrebufferRecipe, train_prebuffer
from tests.worlds.pipeline_world import (
    DrawRecipe,
    FetchRecipe,
    JudgeRecipe,
    LlmRecipe,
    PackRecipe,
    ScoreRecipe,
    TrainRecipe,
    break_toys,
    copy_weights,
    draw_toys,
    fetch_toys,
    judge_toys,
    pack_toys,
    score_toy,
    toy_llm,
    train_toy,
)
from tests.worlds.training_world import LlmRecipe as SmallLlmRecipe
from tests.worlds.training_world import RowsRecipe, make_llm, make_rows


def data():
    """URL table to rows, no training: quick."""
    raw = fetch_toys.bind("pairs", FetchRecipe())
    kept = judge_toys.bind("kept", JudgeRecipe(), raw)
    draw = draw_toys.bind("mix", DrawRecipe(), kept)
    return pack_toys.bind("rows", PackRecipe(), draw)


def whole():
    """The whole of it, with a gang of ranks for the training."""
    llm = toy_llm.bind("llm", LlmRecipe())
    weights = train_toy.bind("weights", TrainRecipe(), [data()], llm)
    return score_toy.bind("evaluate", ScoreRecipe(), weights)


def trained():
    """A real training of 6 steps in the smallest world, of which every checkpoint is kept."""
    recipe = TrainPrebufferRecipe(
        num_steps=6, rows_per_step=4, num_prebuffer_layers=1, patch_hidden=16, num_warmup_steps=2, precision="fp32",
        checkpoint_every_steps=1, keep_last_checkpoints=4,
    )  # fmt: skip
    llm = make_llm.bind("llm", SmallLlmRecipe())
    return train_prebuffer.bind("weights", recipe, [make_rows.bind("rows", RowsRecipe(num_rows=8), llm)], llm)


def scored():
    """An evaluation of weights that need no gang."""
    llm = toy_llm.bind("llm", LlmRecipe())
    return score_toy.bind("evaluate", ScoreRecipe(), copy_weights.bind("weights", LlmRecipe(), llm))


def broken():
    """Its training fails at step 3."""
    llm = toy_llm.bind("llm", LlmRecipe())
    return train_toy.bind("weights", TrainRecipe(fail_at_step=3), [data()], llm)


def broken_data():
    """Its second step fails, whatever it is given."""
    kept = break_toys.bind("kept", JudgeRecipe(), fetch_toys.bind("pairs", FetchRecipe()))
    return draw_toys.bind("mix", DrawRecipe(), kept)


def misbound():
    return judge_toys.bind("kept", JudgeRecipe(), toy_llm.bind("llm", LlmRecipe()))


def twins():
    first = toy_llm.bind("llm", LlmRecipe())
    second = toy_llm.bind("llm", LlmRecipe(width=8))
    return [first, second]
