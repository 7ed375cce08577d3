"""Export a checkpoint: a folder in the released layout, with a model card and its lineage.

Reads  Checkpoint
Makes  ExportedCheckpoint   one part: `model/` in the released layout, with `README.md`, `lineage.json`, and the code
                            by which transformers loads it without this package

Nothing is converted: the weights are read, written and read back, and must be bit-identical.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from stages.artifacts.ancestry import ancestry
from stages.artifacts.artifact import mended_by
from stages.artifacts.kinds import CARD_FILE, LINEAGE_FILE, MODEL_PREFIX, Checkpoint, ExportedCheckpoint
from stages.artifacts.records import sha256_of
from stages.contract import Part, PartDraft, Recipe, StageContext, StageError, stage
from stages.exporting.loadable import make_loadable
from stages.exporting.model_card import lineage_document, model_card

if TYPE_CHECKING:
    from torch import Tensor


class ExportRecipe(Recipe):
    """The title of the exported checkpoint."""

    title: str = Field(default="NEO", min_length=1)
    """Headline of the model card."""


def differences(written: Mapping[str, Tensor], read_back: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that are not bit-identical in both, or are in one only."""
    import torch

    def same(name: str) -> bool:
        one, other = written.get(name), read_back.get(name)
        if one is None or other is None or one.dtype != other.dtype or one.shape != other.shape:
            return False
        return torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))

    return sorted(name for name in written.keys() | read_back.keys() if not same(name))


def check_folder(folder: Path, checkpoint: Checkpoint) -> None:
    """Raise `StageError` if a copied file of the checkpoint differs from the committed one."""
    damaged = [
        entry.name
        for entry in checkpoint.model_files
        if sha256_of(folder / entry.name.removeprefix(MODEL_PREFIX)) != entry.sha256
    ]
    if damaged:
        raise StageError(f"{checkpoint!r} is damaged in {damaged}; {mended_by(checkpoint.short)}")


def export_part(_part: Part, draft: PartDraft, recipe: ExportRecipe, checkpoint: Checkpoint) -> None:
    """Write the folder, and compare the weights read back from it with those of the checkpoint."""
    from neo_model.weights.precision import unified
    from neo_model.weights.released import load_model, read_checkpoint, read_sidecars, write_released

    chain = ancestry(checkpoint)
    source = checkpoint.copy_to(draft.scratch / "checkpoint")
    check_folder(source, checkpoint)
    config, tensors = read_checkpoint(source)
    tensors = unified(tensors)  # merges of number 2 and before may hold two precisions
    folder = draft.path(MODEL_PREFIX + CARD_FILE).parent
    write_released(folder, config, tensors, read_sidecars(source))
    make_loadable(folder, config)
    different = differences(tensors, load_model(folder).state_dict())
    if different:
        raise StageError(f"{checkpoint!r}: {len(different)} tensors are not read back as written: {different[:4]}")
    num_parameters = sum(tensor.numel() for tensor in tensors.values())
    card = model_card(recipe.title, config, num_parameters, chain)
    (folder / CARD_FILE).write_text(card, encoding="utf-8")
    lineage = json.dumps(lineage_document(chain), indent=2, sort_keys=True, ensure_ascii=False)
    (folder / LINEAGE_FILE).write_text(lineage + "\n", encoding="utf-8")
    draft.fact(num_parameters=num_parameters, num_tensors=len(tensors), num_artifacts=len(chain))


@stage(number=3, recipe=ExportRecipe, makes=ExportedCheckpoint, phases=("export",))
def export(recipe: ExportRecipe, checkpoint: Checkpoint, *, ctx: StageContext) -> None:
    """Write the checkpoint with its card and lineage, in one part."""
    work = partial(export_part, recipe=recipe, checkpoint=checkpoint)
    ctx.spread(work, over=[Part(name="00000")], phase="export")
