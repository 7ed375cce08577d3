"""Writes and describes the files of a PreBuffer, and checks which language models it fits.

model/prebuffer.safetensors    the tensors of `neo_model.weights.partition.prebuffer_keys`, in NEO's names
model/prebuffer.json           `config` of the whole network, as released; `language_model`, the artifact that it was
                               trained with; `taken_over`, the PreBuffer whose weights it began with, if any
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.artifacts.kinds import (
    MODEL_PREFIX,
    PREBUFFER_DESCRIPTION_FILE,
    PREBUFFER_WEIGHTS_FILE,
    BaseLlm,
    ModelFolder,
    PreBuffer,
)
from stages.contract import StageError

if TYPE_CHECKING:
    from torch import Tensor

    from neo_model.config import NeoConfig


def write_prebuffer(
    folder: Path,
    parameters: Iterable[tuple[str, Tensor]],
    config: NeoConfig,
    against: ModelFolder,
    taken_over: PreBuffer | None = None,
) -> None:
    """Write the tensors that belong to a pre-Buffer, and its description, into `folder`.

    `against` is the language model that it was trained with, `taken_over` the PreBuffer whose weights it began with.
    """
    from safetensors.torch import save_file

    from neo_model.weights.partition import prebuffer_keys

    wanted = prebuffer_keys(config)
    tensors = {name: value.cpu().clone() for name, value in parameters if name in wanted}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / PREBUFFER_WEIGHTS_FILE, {"format": "pt"})
    description = {"config": config.to_released(), "language_model": _named(against)}
    if taken_over is not None:
        before = describe(taken_over)["language_model"]
        description["taken_over"] = {**_named(taken_over), "language_model": before}
    (folder / PREBUFFER_DESCRIPTION_FILE).write_text(json.dumps(description, indent=2) + "\n")


def describe(prebuffer: PreBuffer) -> dict[str, Any]:
    """The contents of `prebuffer.json` of an artifact."""
    entry = next(
        entry for entry in prebuffer.model_files if entry.name == f"{MODEL_PREFIX}{PREBUFFER_DESCRIPTION_FILE}"
    )
    description: dict[str, Any] = prebuffer.read_json(entry)
    return description


def check_fit(prebuffer: PreBuffer, llm: BaseLlm, *, rebase: bool) -> None:
    """Raise `StageError` where a pre-Buffer does not fit the language model `llm`.

    Widths, heads and rotation must always agree. The content must be that of the language model that the pre-Buffer was
    trained against, unless `rebase` is set.
    """
    from neo_model.config import NeoConfig
    from neo_model.weights.merge import MergeError, check_language_model

    description = describe(prebuffer)
    trained_against, given = description["language_model"]["content"], llm.head.content
    if trained_against != given and not rebase:
        raise StageError(
            f"the pre-Buffer was trained against language model {trained_against[:12]}, this one is {given[:12]}; "
            "bind the former, or set rebase=True to join them all the same"
        )
    try:
        check_language_model(NeoConfig.from_released(description["config"]), _qwen3(llm))
    except MergeError as error:
        raise StageError(str(error)) from error


def _qwen3(llm: BaseLlm) -> Mapping[str, Any]:
    entry = next(entry for entry in llm.model_files if entry.name == f"{MODEL_PREFIX}config.json")
    config: Mapping[str, Any] = llm.read_json(entry)
    return config


def _named(artifact: ModelFolder) -> dict[str, str]:
    return {
        "stage": artifact.head.stage,
        "fingerprint": artifact.fingerprint,
        "content": artifact.head.content,
    }
