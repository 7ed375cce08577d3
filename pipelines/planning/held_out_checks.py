"""Draws for training from which nothing is held out, which a plan says before anything is made.

A draw leaves out the samples that are bound to its `heldout`. Where nothing is bound, questions and held-out rows may
be about pictures that the model was trained on, and a score then says less than it seems to.
"""

from __future__ import annotations

from pipelines.planning.request import FrozenStep

DRAWING_STAGE, HELD_OUT_INPUT = "mix_samples", "heldout"


def holds_nothing_out(step: FrozenStep) -> bool:
    """Whether a step draws samples to train on and has nothing bound that it leaves out."""
    if step.stage != DRAWING_STAGE or step.recipe.get("purpose") != "train":
        return False
    return not any(name.split(".")[0] == HELD_OUT_INPUT for name in step.inputs)
