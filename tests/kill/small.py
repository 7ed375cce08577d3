"""The graph of `tiny` over a world of sixty pictures: three parts a phase, a dozen training steps, a minute in all."""

from typing import Any

from pipelines.recipes.tiny import Effort, learn
from stages.contract import Step
from stages.toy_world.world import ToyWorld

RECIPE = f"{__file__}:small"
SETTINGS = {
    "base_llm.hidden": 32,
    "base_llm.ffn": 64,
    "base_llm.num_layers": 1,
    "base_llm.head_dim": 16,
    "pairs.num_urls_per_part": 20,
    "text.num_documents_per_part": 10,
    "talks.num_conversations_per_part": 20,
    "pretrain_rows.num_rows_per_part": 3,
    "evaluate.num_questions_per_part": 5,
}
"""What makes three parts of a phase, and a network of a few thousand weights."""
WORDS = (RECIPE, *(word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")))


def small() -> tuple[Step[Any], ...]:
    world = ToyWorld(num_train_images=60, num_heldout_images=3, num_documents=30, num_text_conversations=30)
    return learn(world, Effort(base_llm=2, prebuffer=4, mid=4, chat=4, checkpoint_every=1))
