"""The pre-Buffer of `tiny` reused for another language model, as NEO's paper reuses its own.

It is cut out of the tuned checkpoint of `tiny`, trained for a fifth of the steps against a language model of the same
widths and other weights, merged with it and tuned. What `tiny` has made already is reused.
"""

from __future__ import annotations

from pipelines.recipes.tiny import tiny
from stages.artifacts.kinds import Evaluation
from stages.contract import Step
from stages.evaluate import evaluate
from stages.merge_post_llm import merge_post_llm
from stages.take_prebuffer import TakePrebufferRecipe, take_prebuffer
from stages.toy_world.train_toy_llm import train_toy_llm
from stages.train_prebuffer import train_prebuffer
from stages.tune_end_to_end import tune_end_to_end


def tiny_reuse() -> Step[Evaluation]:
    """From the checkpoint of `tiny` to the answers of another model that sees with its pre-Buffer."""
    whole, _ = tiny()
    made = {step.name: step for step in whole.walk()}
    taken = take_prebuffer.bind("taken", TakePrebufferRecipe(), made["chat"])
    llm = train_toy_llm.bind("other_llm", made["base_llm"].recipe.model_copy(update={"seed": 1}))

    further = made["prebuffer"].recipe.model_copy(update={"num_steps": 200, "rebase": True})
    buffer = train_prebuffer.bind("reused", further, [made["pretrain_rows"]], llm, None, None, taken)
    merged = merge_post_llm.bind("reused_merged", made["merged"].recipe, buffer, llm)
    mid = tune_end_to_end.bind("reused_mid", made["mid"].recipe, merged, [made["mid_rows"]])
    chat = tune_end_to_end.bind("reused_chat", made["chat"].recipe, mid, [made["chat_rows"]])
    return evaluate.bind("reused_evaluate", made["evaluate"].recipe, chat, made["questions"])
