"""The tokenizer of a language model artifact, loaded once in a process."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from stages.kinds import MODEL_PREFIX, BaseLlm
from stages.store import Store, StoreError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER_FILE = f"{MODEL_PREFIX}tokenizer.json"


def tokenizer_of(llm: BaseLlm) -> Tokenizer:
    """The tokenizer of a language model, with NEO's tokens; kept for the next part in this process."""
    entry = next((entry for entry in llm.model_files if entry.name == TOKENIZER_FILE), None)
    if entry is None:
        raise StoreError(f"{llm!r} holds no {TOKENIZER_FILE}: save its tokenizer in the fast form and make it again")
    return _tokenizer(llm.store.url, entry.key)


@lru_cache(maxsize=1)
def _tokenizer(store_url: str, key: str) -> Tokenizer:
    from neo_model.conversation import load_tokenizer

    with TemporaryDirectory(prefix="neo-tokenizer-") as folder:
        data = Store(store_url).read(key)
        if data is None:
            raise StoreError(f"{key} is missing from {store_url}")
        (Path(folder) / "tokenizer.json").write_bytes(data)
        return load_tokenizer(Path(folder))
