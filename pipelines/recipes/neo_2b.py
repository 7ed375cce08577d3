"""NEO-2.2B as in its paper: 12 new layers before Qwen3-1.7B, trained on 389 million samples."""

from __future__ import annotations

from pipelines.recipes._paper import Size, train_as_in_the_paper
from stages.artifacts.kinds import ExportedCheckpoint
from stages.contract import Step

NEO_2B = Size(
    title="NEO 2.2B",
    llm="Qwen3-1.7B",                   # the repository names the -Base model
    llm_source="qwen3_1_7b_base",
    num_prebuffer_layers=12,            # 40 layers in all, 2.265B parameters in them
)  # fmt: skip


def neo_2b() -> Step[ExportedCheckpoint]:
    """Pre-training, mid-training and instruction tuning, then export."""
    return train_as_in_the_paper(NEO_2B)
