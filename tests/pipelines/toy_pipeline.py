"""Pipelines of toy stages: a user's own file, as the command line takes it."""

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
