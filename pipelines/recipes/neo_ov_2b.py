"""NEO-ov 2B as in its paper: NEO-2.2B's pre-Buffer, then 86 million texts, pictures, sets of pictures and videos."""

from __future__ import annotations

from dataclasses import replace

from pipelines.recipes._ov_paper import OvSize, train_as_in_the_ov_paper
from pipelines.recipes.neo_2b import NEO_2B
from stages.artifacts.kinds import ExportedCheckpoint
from stages.contract import Step

NEO_OV_2B = OvSize(
    size=replace(NEO_2B, title="NEO-ov 2B"),
    neo="NEO-2B",
    neo_source="neo_2b_checkpoint",     # ours, or the released NEO1_0-2B-SFT
)  # fmt: skip


def neo_ov_2b() -> Step[ExportedCheckpoint]:
    """Pre-training, mid-training and instruction tuning of NEO-ov, then export."""
    return train_as_in_the_ov_paper(NEO_OV_2B)
