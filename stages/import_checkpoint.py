"""Take over a released NEO from outside as a checkpoint: to tune on, to evaluate, or to cut a pre-Buffer from.

Reads  a source: a NEO folder in safetensors in any published form, local, in an object store, or on a hub at a commit
Makes  Checkpoint   phase `inspect`, one part: `model/` with config.json in the training kit's form, tokenizer, chat
                    template, licence; original_config.json
                    phase `weights`, one part for each weight file: `model/` with the file, byte for byte

The folder is judged by its settings and the headers of its weights before any weight is copied. A published folder may
lack the depth of its pre-Buffer, its image tokens and sizes, may call itself `internvl_chat`, and may store its output
head beside an equal embedding table; another network under the same label is refused by name.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from pydantic import Field

from neo_model.published import NEO_CONFIGS, PublishedNeo
from stages.artifacts.kinds import Checkpoint
from stages.contract import Part, PartDraft, PinnedSource, Recipe, Source, StageContext, stage
from stages.model_folders.copying import WEIGHTS_PHASE, copy_weights, weight_parts
from stages.model_folders.folder import ForeignFolder
from stages.model_folders.inspection import INSPECT_PHASE, FolderFacts
from stages.model_folders.neo_folder import inspect_neo


class ImportCheckpointRecipe(Recipe):
    """Which folder is the checkpoint, and what its configuration does not say."""

    source: Source
    """The model folder that is taken over."""
    published: PublishedNeo | None = None
    """Name of the published size that the folder must have, so that costs can be estimated before it is there; None
    takes a NEO of any size."""
    num_prebuffer_layers: int | None = Field(default=None, ge=1, le=1_000)
    """Number of pre-Buffer layers. Needed only where config.json does not say it (extra_num_layers) and the size is
    not a published one: 12 of 40 layers in 2B and 6 of 42 in 9B are known."""
    own_head: bool = False
    """Take a stored output head that differs from the embedding table although config.json says that it is the table.
    By default such a folder is refused: transformers 4 and 5 compute differently with it."""
    allow_non_finite: tuple[str, ...] = ()
    """Names of tensors that may hold NaN or infinity, which are otherwise refused, as all that such a model computes is
    NaN."""

    def expected_released(self) -> dict[str, Any] | None:
        """`config.json` of the checkpoint, if `published` says it; else None."""
        return None if self.published is None else NEO_CONFIGS[self.published].to_released()


def inspect_part(_part: Part, draft: PartDraft, source: PinnedSource, recipe: ImportCheckpointRecipe) -> None:
    """Judge the folder, and copy everything but its weights."""
    inspect_neo(
        ForeignFolder(source),
        draft,
        published=recipe.published,
        num_prebuffer_layers=recipe.num_prebuffer_layers,
        own_head=recipe.own_head,
    )


@stage(number=2, recipe=ImportCheckpointRecipe, makes=Checkpoint, accepts=(1,), phases=(INSPECT_PHASE, WEIGHTS_PHASE))
def import_checkpoint(recipe: ImportCheckpointRecipe, *, ctx: StageContext) -> None:
    source = ctx.pinned(recipe.source)
    look = partial(inspect_part, source=source, recipe=recipe)
    (inspected,) = ctx.spread(look, over=[Part(name="00000", num_items=1)], phase=INSPECT_PHASE)
    parts = weight_parts(ForeignFolder(source), FolderFacts.of(inspected).weight_files)
    copy = partial(copy_weights, source=source.name, place=source.place, allow_non_finite=recipe.allow_non_finite)
    ctx.spread(copy, over=parts, phase=WEIGHTS_PHASE)
