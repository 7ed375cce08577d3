"""The folder of a logged model: what MLflow loads it by, where its weights lie, and small weights themselves.

    MLmodel            MLflow's own description: a pyfunc that answers questions about pictures, with its signature
    neo_model.json     the artifact: store, stage, fingerprint, content digest
    requirements.txt   this package, by its version
    config.json, *.safetensors, ...   the model's files, of models of at most `MAX_COPIED_BYTES`

Weights beyond that stay in the store, and `model_flavour.py` takes them from there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from stages.artifacts.artifact import Artifact
from stages.artifacts.head import HEAD_FILE, head_bytes
from stages.artifacts.kinds import Checkpoint, ExportedCheckpoint, ModelFolder
from stages.artifacts.versions import versions

MAX_COPIED_BYTES: Final = 100_000_000
"""Largest model that is copied into MLflow, in bytes of its artifact: those of demos and tests, none of 2B or 9B.

A larger one would keep the end of a run waiting: what is left to deliver then has a minute."""
DEFAULT_NEW_TOKENS: Final = 128
"""Longest answer, in tokens, unless `max_new_tokens` is among the parameters."""
POINTER_FILE: Final = "neo_model.json"
"""Says which artifact of which store a logged model is."""
WHOLE_MODELS: Final[dict[str, type[ModelFolder]]] = {kind.kind: kind for kind in (Checkpoint, ExportedCheckpoint)}
"""The kinds of artifact that hold a whole model, which can be asked, by name."""
LOADER: Final = "pipelines.tracking.model_flavour"
"""The module that MLflow imports to load a model."""


@contextmanager
def model_files(artifact: Artifact, model_id: str, at_seconds: float) -> Iterator[Path]:
    """A folder with the files of a logged model, within this context. Files of the store are links, nothing is copied.

    A model that cannot be asked by itself, such as a pre-Buffer, has its head alone.
    """
    with TemporaryDirectory(prefix="neo-page-") as name:
        folder = Path(name)
        (folder / HEAD_FILE).write_bytes(head_bytes(artifact.head))
        kind = WHOLE_MODELS.get(artifact.head.kind)
        if kind is None:
            yield folder
            return
        is_copied = artifact.head.size_bytes <= MAX_COPIED_BYTES
        (folder / POINTER_FILE).write_text(json.dumps(pointer(artifact, is_copied=is_copied), indent=2))
        _write_mlmodel(folder, model_id, at_seconds)
        if is_copied:
            with kind(artifact.store, artifact.head).linked_in(folder):
                yield folder
        else:
            yield folder


def pointer(artifact: Artifact, *, is_copied: bool) -> dict[str, object]:
    """Which artifact of which store a model is."""
    head = artifact.head
    return {
        "store": artifact.store.url,
        "stage": head.stage,
        "fingerprint": head.fingerprint,
        "content": head.content,
        "kind": head.kind,
        "size_bytes": head.size_bytes,
        "weights": "beside this file" if is_copied else "in the store",
    }


def _write_mlmodel(folder: Path, model_id: str, at_seconds: float) -> None:
    """Write `MLmodel` and `requirements.txt`: a pyfunc of one question a row, about a picture or none."""
    from mlflow.models import Model, ModelSignature
    from mlflow.pyfunc import add_to_model
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    inputs = [
        ColSpec(DataType.string, "question"),
        ColSpec(DataType.binary, "picture", required=False),
        ColSpec(DataType.string, "picture_path", required=False),
    ]
    params = ParamSchema([ParamSpec("max_new_tokens", DataType.long, DEFAULT_NEW_TOKENS)])
    signature = ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec(DataType.string)]), params=params)
    created = datetime.fromtimestamp(at_seconds, UTC).replace(tzinfo=None)
    model = Model(utc_time_created=created, model_uuid=model_id, model_id=model_id, signature=signature)
    add_to_model(model, loader_module=LOADER)
    model.save(str(folder / "MLmodel"))
    package = versions().get("neo-pipelines")
    (folder / "requirements.txt").write_text(f"neo-pipelines=={package}\n" if package else "neo-pipelines\n")
