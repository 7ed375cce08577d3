"""Loads the tokenizer of a model artifact, once in a process, and compares it with the tokenizer of packed rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import TOKENIZER_FILE, ModelFolder, Rows
from stages.contract import StageError
from stages.store.errors import StoreError
from stages.store.store import Store

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def tokenizer_of(llm: ModelFolder) -> Tokenizer:
    """The tokenizer of a model, with NEO's tokens; the last one is cached. Raises `StoreError` where it has none."""
    entry = next((entry for entry in llm.model_files if entry.name == TOKENIZER_FILE), None)
    if entry is None:
        raise StoreError(f"{llm!r} holds no {TOKENIZER_FILE}: save its tokenizer in the fast form and make it again")
    return _tokenizer(llm.store.url, entry.key)


def check_same_tokenizer(rows: Sequence[Rows], model: ModelFolder) -> None:
    """Raise `StageError` where rows were packed with a tokenizer that differs from the model's in any piece or id."""
    ours = tokenizer_of(model).get_vocab(with_added_tokens=True)
    for packed_with in rows:
        packer = packed_with.input("llm", Artifact)
        theirs = tokenizer_of(packer.as_kind(ModelFolder)).get_vocab(with_added_tokens=True)
        differing = sorted(piece for piece in ours.keys() | theirs.keys() if ours.get(piece) != theirs.get(piece))
        if differing:
            piece = differing[0]
            raise StageError(
                f"{packed_with!r} was packed with another tokenizer than that of {model!r}: they differ in "
                f"{len(differing)} pieces, the first is {piece!r} (id {theirs.get(piece)} there, {ours.get(piece)} "
                "here); pack the rows again with the model that they are to train"
            )


@lru_cache(maxsize=1)
def _tokenizer(store_url: str, key: str) -> Tokenizer:
    from neo_model.inputs.conversation import load_tokenizer

    with TemporaryDirectory(prefix="neo-tokenizer-") as folder:
        data = Store(store_url).read(key)
        if data is None:
            raise StoreError(f"{key} is missing from {store_url}")
        (Path(folder) / "tokenizer.json").write_bytes(data)
        return load_tokenizer(Path(folder))
