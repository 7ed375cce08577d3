"""NEO-9B as in its paper: 6 new layers before Qwen3-8B, trained on 389 million samples."""

from __future__ import annotations

from pipelines.recipes._paper import Size, train_as_in_the_paper
from stages.artifacts.kinds import ExportedCheckpoint
from stages.contract import Step

NEO_9B = Size(
    title="NEO 9B",
    llm="Qwen3-8B",                     # the repository names the -Base model
    llm_source="qwen3_8b_base",
    num_prebuffer_layers=6,             # 42 layers in all, 8.984B parameters in them
)  # fmt: skip


def neo_9b() -> Step[ExportedCheckpoint]:
    """Pre-training, mid-training and instruction tuning, then export."""
    return train_as_in_the_paper(NEO_9B)
