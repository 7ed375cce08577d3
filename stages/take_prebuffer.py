"""Cut the pre-Buffer out of a whole checkpoint, ours or a released one, so that it can be used again.

Reads  Checkpoint or ExportedCheckpoint
Makes  PreBuffer   one part: model/prebuffer.safetensors, model/prebuffer.json

What it was trained against is the checkpoint itself, whose other layers learned together with it: any language model
is another one, so that it is trained or merged further only with `rebase`.
"""

from __future__ import annotations

from functools import partial

from stages.artifacts.kinds import MODEL_PREFIX, PREBUFFER_DESCRIPTION_FILE, Checkpoint, ExportedCheckpoint, PreBuffer
from stages.contract import Part, PartDraft, Recipe, StageContext, StageError, stage
from stages.formats.prebuffer import write_prebuffer


class TakePrebufferRecipe(Recipe):
    """Nothing is to be chosen: a checkpoint has one pre-Buffer."""


def take_part(_part: Part, draft: PartDraft, checkpoint: Checkpoint | ExportedCheckpoint) -> None:
    """Write the tensors of the pre-Buffer, bit for bit."""
    from neo_model.weights.merge import MergeError
    from neo_model.weights.merge import take_prebuffer as taken_from
    from neo_model.weights.released import read_checkpoint

    folder = checkpoint.copy_to(draft.scratch / "checkpoint")
    config, whole = read_checkpoint(folder)
    try:
        tensors = taken_from(whole, config)
    except MergeError as error:
        raise StageError(f"{checkpoint!r}: {error}") from error
    target = draft.path(f"{MODEL_PREFIX}{PREBUFFER_DESCRIPTION_FILE}").parent
    write_prebuffer(target, tensors.items(), config, against=checkpoint)
    draft.fact(num_tensors=len(tensors))


@stage(number=1, recipe=TakePrebufferRecipe, makes=PreBuffer, phases=("take",))
def take_prebuffer(
    recipe: TakePrebufferRecipe, checkpoint: Checkpoint | ExportedCheckpoint, *, ctx: StageContext
) -> None:
    del recipe  # it has no fields
    ctx.spread(partial(take_part, checkpoint=checkpoint), over=[Part(name="00000")], phase="take")
