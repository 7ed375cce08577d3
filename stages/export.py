"""Export a checkpoint: a folder in the released layout, with a model card and its lineage.

Reads  Checkpoint
       Evaluations   `evaluations`, if any, under names of the user's choice: their scores stand on the card
Makes  ExportedCheckpoint   one part: `model/` in the released layout, with `README.md`, `lineage.json`, and the code
                            by which transformers loads it without this package

Nothing is converted: the weights are read, written and read back, and must be bit-identical.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from stages.artifacts.artifact import mended_by
from stages.artifacts.kinds import CARD_FILE, LINEAGE_FILE, MODEL_PREFIX, Checkpoint, Evaluation, ExportedCheckpoint
from stages.artifacts.records import sha256_of
from stages.contract import Part, PartDraft, Recipe, StageContext, StageError, stage
from stages.exporting.card_metadata import LANGUAGE_CODE, is_listed, linked, own_name
from stages.exporting.lineage import ExportLineage, lineage_document
from stages.exporting.lineage_file import sealed
from stages.exporting.loadable import make_loadable
from stages.exporting.model_card import model_card
from stages.exporting.statements import HUB_NAME, read_lineage, statements

if TYPE_CHECKING:
    from torch import Tensor


class ExportRecipe(Recipe):
    """What the publisher of the exported checkpoint states of it."""

    title: str = Field(default="NEO", min_length=1, max_length=200, pattern=r"^[^\x00-\x08\x0e-\x1f\x7f-\x9f]*$")
    """Headline of the model card."""
    licence: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]*$")
    """Identifier of the licence, such as `apache-2.0`; None takes the one that all models it grew on state."""
    licence_link: str | None = Field(default=None, pattern=r"^(https://[^\s<>\"]+|[A-Za-z0-9][A-Za-z0-9._-]*)$")
    """Address of the licence, or the name of the file in the folder that holds it."""
    base_models: tuple[Annotated[str, Field(pattern=f"^{HUB_NAME}/{HUB_NAME}$")], ...] = ()
    """Models that it grew on, as `OWNER/NAME` on a model hub."""
    languages: tuple[Annotated[str, Field(pattern=f"^({LANGUAGE_CODE}|multilingual)$")], ...] = ()
    """ISO 639 codes of its languages, such as `en`; none takes those that its samples carry, if they do."""
    datasets: tuple[Annotated[str, Field(pattern=f"^({HUB_NAME}/)?{HUB_NAME}$")], ...] = ()
    """Data sets on a hub that it learned from, as `OWNER/NAME`."""
    limits: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Sentences about what it is not good for, which the model card lists."""

    @model_validator(mode="after")
    def _check_licence(self) -> Self:
        if self.licence is None or is_listed(self.licence):
            return self
        if not own_name(self.licence):
            raise ValueError("licence 'other' names none: state its own name, such as my-licence-1.0, and licence_link")
        if self.licence_link is None:
            raise ValueError(
                f"model hubs do not list licence {self.licence!r} and want its address beside it: set licence_link to "
                "one, or to LICENSE where that file lies beside the weights"
            )
        return self


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


def check_evaluations(checkpoint: Checkpoint, evaluations: Mapping[str, Evaluation]) -> None:
    """Raise `StageError` where an evaluation measured another checkpoint."""
    for name, evaluation in evaluations.items():
        asked = evaluation.head.inputs.get("checkpoint")
        if asked is None or asked.content != checkpoint.head.content:
            other = "no checkpoint" if asked is None else f"{asked.stage}/{asked.fingerprint[:12]}"
            raise StageError(
                f"evaluation {name!r} ({evaluation!r}) measured {other}, and {checkpoint!r} is exported: "
                "bind the evaluation of the checkpoint that is exported"
            )


def export_part(
    _part: Part,
    draft: PartDraft,
    recipe: ExportRecipe,
    checkpoint: Checkpoint,
    evaluations: Mapping[str, Evaluation],
) -> None:
    """Write the folder, and compare the weights read back from it with those of the checkpoint."""
    from neo_model.weights.precision import unified
    from neo_model.weights.released import load_model, read_checkpoint, read_sidecars, write_released

    lineage = read_lineage(checkpoint, evaluations)
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
    stated = linked(statements(lineage, **recipe.model_dump()), {path.name for path in folder.iterdir()})
    (folder / CARD_FILE).write_text(model_card(stated, config, num_parameters, lineage), encoding="utf-8")
    _write_lineage(folder, lineage)
    draft.fact(num_parameters=num_parameters, num_tensors=len(tensors), num_artifacts=len(lineage.chain))


def _write_lineage(folder: Path, lineage: ExportLineage) -> None:
    """Write the lineage beside all other files, whose digests it lists."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = [
        {"name": path.relative_to(folder).as_posix(), "size_bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in paths
    ]
    (folder / LINEAGE_FILE).write_bytes(sealed(lineage_document(lineage, files)))


@stage(number=8, recipe=ExportRecipe, makes=ExportedCheckpoint, accepts=(5, 6, 7), phases=("export",))
def export(
    recipe: ExportRecipe,
    checkpoint: Checkpoint,
    evaluations: Mapping[str, Evaluation] | None,
    *,
    ctx: StageContext,
) -> None:
    """Write the checkpoint with its card and lineage, in one part."""
    check_evaluations(checkpoint, evaluations or {})
    work = partial(export_part, recipe=recipe, checkpoint=checkpoint, evaluations=evaluations or {})
    ctx.spread(work, over=[Part(name="00000")], phase="export")
