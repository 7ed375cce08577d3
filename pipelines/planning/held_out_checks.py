"""Draws for training from which nothing is held out, which a plan says before anything is made.

A draw leaves out the samples that are bound to its `heldout`. Where nothing is bound, questions and held-out rows may
be about pictures that the model was trained on, and a score then says less than it seems to.
"""

from __future__ import annotations

from pipelines.planning.request import FrozenStep
from stages.artifacts.learned import KEPT_OUT_INPUTS, slot_of

DRAWING_STAGE = "mix_samples"


def holds_nothing_out(step: FrozenStep) -> bool:
    """Whether a step draws samples to train on and has nothing bound that it leaves out."""
    if step.stage != DRAWING_STAGE or step.recipe.get("purpose") != "train":
        return False
    return not any((step.stage, slot_of(name)) in KEPT_OUT_INPUTS for name in step.inputs)
