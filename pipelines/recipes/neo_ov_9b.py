"""NEO-ov 9B as in its paper: NEO-9B's pre-Buffer, then 86 million texts, pictures, sets of pictures and videos."""

from __future__ import annotations

from dataclasses import replace

from pipelines.recipes._ov_paper import OvSize, train_as_in_the_ov_paper
from pipelines.recipes.neo_9b import NEO_9B
from stages.artifacts.kinds import ExportedCheckpoint
from stages.contract import Step

NEO_OV_9B = OvSize(
    size=replace(NEO_9B, title="NEO-ov 9B"),
    neo="NEO-9B",
    neo_source="neo_9b_checkpoint",     # ours, or the released NEO1_0-9B-SFT
)  # fmt: skip


def neo_ov_9b() -> Step[ExportedCheckpoint]:
    """Pre-training, mid-training and instruction tuning of NEO-ov, then export."""
    return train_as_in_the_ov_paper(NEO_OV_9B)
