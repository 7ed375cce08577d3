"""Take over a plain Qwen3 from outside as the language model that NEO grows on.

Reads  a source: a Qwen3 folder in safetensors, local, in an object store, or on a hub at a commit
Makes  BaseLlm    phase `inspect`, one part: `model/` with config.json, tokenizer, chat template, licence
                  phase `weights`, one part for each weight file: `model/` with the file

The folder is judged by its settings and the headers of its weights, a few megabytes, before any weight is copied.
Whatever is no plain Qwen3 is refused in words. Code and pickles are never copied or opened.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from neo_model.published import QWEN3_CONFIGS, PublishedQwen3
from stages.artifacts.kinds import BaseLlm
from stages.contract import Part, PartDraft, PinnedSource, Recipe, Source, StageContext, stage
from stages.model_folders.copying import WEIGHTS_PHASE, copy_weights, weight_parts
from stages.model_folders.folder import ForeignFolder
from stages.model_folders.inspection import INSPECT_PHASE, FolderFacts
from stages.model_folders.qwen3_folder import inspect_qwen3


class FetchLlmRecipe(Recipe):
    """Which folder is the language model."""

    source: Source
    """The model folder that is taken over."""
    published: PublishedQwen3 | None = None
    """Name of the published model whose sizes the folder must have, so that costs can be estimated before it is
    there; None takes any Qwen3."""
    own_head: bool = False
    """Take a stored output head that differs from the embedding table although config.json says that it is the table.
    By default such a folder is refused: transformers 4 and 5 compute differently with it."""
    allow_non_finite: tuple[str, ...] = ()
    """Names of tensors that may hold NaN or infinity, which are otherwise refused, as all that such a model computes is
    NaN."""

    def expected_config(self) -> dict[str, Any] | None:
        """What decides the sizes in `config.json`, if `published` says it; else None."""
        return None if self.published is None else dict(QWEN3_CONFIGS[self.published])


def inspect_part(_part: Part, draft: PartDraft, source: PinnedSource, recipe: FetchLlmRecipe) -> None:
    """Judge the folder, and copy everything but its weights."""
    inspect_qwen3(ForeignFolder(source), draft, published=recipe.published, own_head=recipe.own_head)


@stage(number=1, recipe=FetchLlmRecipe, makes=BaseLlm, phases=(INSPECT_PHASE, WEIGHTS_PHASE))
def fetch_llm(recipe: FetchLlmRecipe, *, ctx: StageContext) -> None:
    source = ctx.pinned(recipe.source)
    look = partial(inspect_part, source=source, recipe=recipe)
    (inspected,) = ctx.spread(look, over=[Part(name="00000", num_items=1)], phase=INSPECT_PHASE)
    parts = weight_parts(ForeignFolder(source), FolderFacts.of(inspected).weight_files)
    copy = partial(copy_weights, source=source.name, place=source.place, allow_non_finite=recipe.allow_non_finite)
    ctx.spread(copy, over=parts, phase=WEIGHTS_PHASE)
