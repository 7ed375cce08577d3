"""From what was typed for a model to a folder with its files: a folder itself, or an artifact that holds a model.

No file is copied: the folder for an artifact holds links to the artifact's own files, or to cached ones where the store
is remote.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.exits import BadCommandError
from pipelines.runs.refs import resolve_artifact
from stages.artifacts.artifact import Artifact
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import read_head
from stages.artifacts.kinds import Checkpoint, Evaluation, ExportedCheckpoint, ModelFolder
from stages.store.store import Store

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from neo_model.live_chat import LiveChat
    from neo_model.model import NeoModel

CHECKPOINT_INPUT = "checkpoint"
"""The name under which an Evaluation records the checkpoint that it asked."""
MODELS: dict[str, type[ModelFolder]] = {kind.kind: kind for kind in (Checkpoint, ExportedCheckpoint)}
"""The kinds of artifact that hold a whole model, by name."""


@contextmanager
def model_folder(ref: str, open_store: Callable[[], Store]) -> Iterator[tuple[Path, str]]:
    """A folder with the files of the model that `ref` names, and how the model is called, for a sentence.

    A folder that exists is meant, else an artifact of the store; of an evaluation, the checkpoint that it asked. Raises
    `BadCommandError` where that is nothing, or no whole model.
    """
    if Path(ref).is_dir():
        yield Path(ref), ref
        return
    model = _model(open_store(), ref)
    with tempfile.TemporaryDirectory(prefix="neo-ask-") as folder, model.linked_in(Path(folder)) as linked:
        yield linked, f"{model.head.stage}/{model.short}"


def _model(store: Store, ref: str) -> ModelFolder:
    try:
        stage, fingerprint = resolve_artifact(store, ref)
    except BadCommandError as error:
        raise BadCommandError(f"{ref!r} is no folder, and {error}", then=error.then) from error
    head = read_head(store, stage, fingerprint)
    if head is None:
        told = f"{ref!r} ({stage}/{fingerprint[:SHOWN_DIGITS]}) is not committed"
        raise BadCommandError(f"{told}: a model answers once the step that makes it has ended", then="neo status")
    artifact = Artifact(store, head)
    if head.kind == Evaluation.kind and CHECKPOINT_INPUT in head.inputs:
        return artifact.input(CHECKPOINT_INPUT, Checkpoint)
    if head.kind not in MODELS:
        told = f"{ref!r} is {head.stage}/{artifact.short}, of kind {head.kind}: only a whole model answers"
        raise BadCommandError(
            f"{told} ({', '.join(MODELS)}, or an {Evaluation.kind} of one)", then=f"neo trace {artifact.short}"
        )
    return MODELS[head.kind](store, head)


def load_chat(folder: Path, name: str) -> LiveChat:
    """A chat with the model of a folder, on the GPU if there is one. Raises `BadCommandError` for another folder."""
    from neo_model.live_chat import LiveChat

    return LiveChat(*load_answering(folder, name))


def load_answering(folder: Path, name: str) -> tuple[NeoModel, Tokenizer]:
    """The model of a folder, on the GPU if there is one, and its tokenizer.

    Raises `BadCommandError` for a folder that holds no NEO.
    """
    from stages.evaluation.answering import load_model_folder

    try:
        return load_model_folder(folder)
    except ValueError as error:
        raise BadCommandError(f"{name} holds no NEO that can be asked: {error}", then="neo ask --help") from error
