"""How MLflow loads one of our models: `mlflow.pyfunc.load_model("models:/tiny-export/latest").predict(...)`.

    model.predict([{"question": "What colour is it?", "picture_path": "photo.jpg"}])   # one answer for each row

A row has `question`, and `picture` (the bytes of a file) or `picture_path`, or neither. The weights lie beside
`MLmodel`, or in the store that `neo_model.json` names, which must then be reachable from here.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from pipelines.tracking.model_files import DEFAULT_NEW_TOKENS, POINTER_FILE, WHOLE_MODELS
from stages.artifacts.head import read_head
from stages.formats.fit_sample import Limits
from stages.store.errors import StoreError
from stages.store.store import Store

CONFIG_FILE: Final = "config.json"
"""Is there where the weights are."""
MAX_DECODED_PX: Final = 100_000_000
"""Largest picture that is decoded, in pixels."""


def _load_pyfunc(path: str) -> AskableModel:
    """Called by MLflow with the folder that it downloaded."""
    return AskableModel(Path(path))


class AskableModel:
    """A model that answers questions about pictures."""

    def __init__(self, folder: Path) -> None:
        """Load the weights. Raises `StoreError` where they are in a store that no longer has them."""
        from stages.evaluation.answering import load_model_folder

        with ExitStack() as used:
            self._model, self._tokenizer = load_model_folder(_with_weights(folder, used))

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> list[str]:
        """An answer for each row of `model_input`: a data frame, a list of mappings, or one mapping."""
        most = int((params or {}).get("max_new_tokens", DEFAULT_NEW_TOKENS))
        return [self._answer(row, most) for row in _rows(model_input)]

    def _answer(self, row: Mapping[str, Any], max_new_tokens: int) -> str:
        from neo_model.inputs.conversation import IMAGE_PLACEHOLDER
        from neo_model.inputs.pictures import open_pixels, to_uint8_patches
        from neo_model.live_chat import LiveChat

        question = row.get("question")
        if not isinstance(question, str) or not question.strip():
            raise ValueError(f"question = {question!r}: each row needs a question as text")
        chat = LiveChat(self._model, self._tokenizer)
        data = _picture(row)
        if data is not None:
            limits = Limits(
                max_tokens=chat.conversation.max_tokens,
                min_pixels_px=chat.config.min_pixels_px,
                max_pixels_px=chat.config.max_pixels_px,
                pictures_share_pixels=True,
            )
            pixels = open_pixels(data, max_pixels_px=MAX_DECODED_PX, colour="srgb")
            chat.show(f"{IMAGE_PLACEHOLDER}\n", [to_uint8_patches(pixels, *limits.of_pictures(1))])
        return chat.ask(question, max_new_tokens=max_new_tokens)


def _with_weights(folder: Path, used: ExitStack) -> Path:
    """The folder itself where it holds the weights, else one with links to them, for as long as `used` is open."""
    if (folder / CONFIG_FILE).is_file():
        return folder
    known = json.loads((folder / POINTER_FILE).read_text())
    store = Store(known["store"])
    head = read_head(store, known["stage"], known["fingerprint"])
    named = f"{known['stage']}/{known['fingerprint']} in {known['store']}"
    if head is None:
        raise StoreError(f"the weights of this model are those of {named}, which is not there any more")
    if head.content != known["content"]:
        raise StoreError(f"{named} has other content than the model that was logged: {head.content}")
    linked = Path(used.enter_context(tempfile.TemporaryDirectory(prefix="neo-model-")))
    return used.enter_context(WHOLE_MODELS[head.kind](store, head).linked_in(linked))


def _rows(given: Any) -> Iterable[Mapping[str, Any]]:
    if hasattr(given, "to_dict"):  # a data frame
        rows: list[Mapping[str, Any]] = given.to_dict("records")
        return rows
    return [given] if isinstance(given, Mapping) else given


def _picture(row: Mapping[str, Any]) -> bytes | None:
    """The bytes of a row's picture; None where it has none. A missing cell of a data frame is NaN or None."""
    data, path = row.get("picture"), row.get("picture_path")
    if isinstance(data, bytes | bytearray):
        return bytes(data)
    return Path(path).read_bytes() if isinstance(path, str) and path else None
