"""The graph of `tiny_ov` behind that of `small`. What it learns is of no interest."""

from typing import Any

from pipelines.recipes.tiny import Effort, learn
from pipelines.recipes.tiny_ov import OvEffort, learn_ov
from stages.contract import Step
from stages.toy_world.world import ToyWorld


def small_ov() -> tuple[Step[Any], ...]:
    world = ToyWorld(num_train_images=240, num_heldout_images=6, num_documents=120, num_text_conversations=60)
    before = learn(world, Effort(base_llm=8, prebuffer=6, mid=4, chat=4, checkpoint_every=2))
    return learn_ov(before, OvEffort(prebuffer=2, mid=4, chat=2))
