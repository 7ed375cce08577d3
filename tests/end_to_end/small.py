"""The graph of `tiny` over a world so small that every stage ends in seconds. What it learns is of no interest."""

from typing import Any

from pipelines.recipes.tiny import Effort, learn
from stages.contract import Step
from stages.toy_world.world import ToyWorld


def small() -> tuple[Step[Any], ...]:
    world = ToyWorld(num_train_images=240, num_heldout_images=6, num_documents=120, num_text_conversations=60)
    return learn(world, Effort(base_llm=8, prebuffer=6, mid=4, chat=4, checkpoint_every=2))
