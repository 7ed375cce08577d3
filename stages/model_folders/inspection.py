"""What every inspection of a model folder does: the refusals in words, the copied settings, the recorded facts.

An inspection is one part. It reads settings and headers, a few megabytes, and raises before any weight is copied; the
files that it records lie beside the weights in the artifact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from stages.artifacts.kinds import MODEL_PREFIX
from stages.artifacts.records import ItemBalance
from stages.contract import PartDraft, PartFacts, StageError
from stages.model_folders.folder import ForeignFolder
from stages.model_folders.licence import licence_of
from stages.model_folders.weights import FoundWeights

INSPECT_PHASE: Final = "inspect"
"""The phase that judges a model folder and copies its settings: one part."""


class FolderFacts(PartFacts):
    """What is recorded of a model folder that was taken over."""

    source: str
    """Name of the source."""
    weight_files: list[str]
    """Names of the weight files, which the next phase copies."""
    left_out: list[str]
    """Names of the files that were not taken over: code, pickles, pictures."""
    licence: str | None
    """Identifier of the licence, as the README of the folder states it."""
    licence_link: str | None
    """Address of the licence, where the README gives one."""
    licence_files: list[str]
    """Files of the artifact, under `model/`, that hold the terms."""
    dtypes: list[str]
    """Dtypes of the weights, as safetensors spells them."""
    num_tensors: int
    """Number of tensors."""
    num_parameters: int
    """Number of values in all tensors; a head that is stored beside an equal table counts."""
    head: str
    """The output head: `table`, `table, stored twice`, `own`."""


@contextmanager
def refusing(folder: ForeignFolder) -> Iterator[None]:
    """Turn what `neo_model` refuses about a folder into a `StageError` that names the source."""
    from neo_model.config_fields import ConfigError
    from neo_model.weights.architectures import OtherArchitectureError
    from neo_model.weights.head import HeadError
    from neo_model.weights.tensor_report import TensorMismatchError

    try:
        yield
    except OtherArchitectureError as error:
        raise StageError(f"{folder} {error}") from error
    except (ConfigError, HeadError, TensorMismatchError) as error:
        raise StageError(f"{folder}: {error}") from error


def check_number_of_layers(folder: ForeignFolder, weights: FoundWeights, num_layers: int) -> None:
    """Raise `StageError` where `config.json` states more layers than there are tensors, before a list of them is made.

    A layer has eleven tensors at least. A smaller difference is named tensor by tensor.
    """
    if num_layers > len(weights.entries):
        raise StageError(
            f"{folder}: config.json says num_hidden_layers {num_layers:,}, and the weights hold "
            f"{len(weights.entries):,} tensors in all"
        )


def head_in_words(*, tied: bool, is_stored: bool) -> str:
    """The output head as `FolderFacts.head` names it."""
    if not tied:
        return "own"
    return "table, stored twice" if is_stored else "table"


def keep_folder(
    draft: PartDraft,
    folder: ForeignFolder,
    weights: FoundWeights,
    *,
    head: str,
    instead: Mapping[str, bytes],
    further: Mapping[str, Any],
) -> None:
    """Copy the settings of a folder and record what it is.

    `instead` are files that are written with other bytes than the folder has, by name; `further` are facts beside
    those of `FolderFacts`.
    """
    kept = [*folder.settings, *(name for name in instead if name not in folder.settings)]
    for name in kept:
        target = draft.path(MODEL_PREFIX + name)
        target.write_bytes(instead[name] if name in instead else folder.read(name))
    licence = licence_of(folder)
    facts = FolderFacts(
        source=folder.source.name,
        weight_files=list(weights.files),
        left_out=[name for name in folder.files if name not in kept and name not in weights.files],
        licence=licence.name,
        licence_link=licence.link,
        licence_files=list(licence.files),
        dtypes=weights.dtypes,
        num_tensors=len(weights.entries),
        num_parameters=weights.num_parameters,
        head=head,
    )
    draft.fact(**facts.dump(), **further)
    # The place is not a fact: the same files in another place make the same artifact.
    draft.annotate(place=folder.source.place, commit=folder.commit)
    draft.count(ItemBalance(kept=1))
