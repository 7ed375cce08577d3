"""The tokenizer of a model folder as one `tokenizer.json`, and the ids of NEO's tokens in it.

A folder that was saved with a slow tokenizer has `vocab.json` and `merges.txt` instead, as the released training kit
saves it; `tokenizer.json` is then built from them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stages.contract import StageError
from stages.model_folders.folder import ForeignFolder

if TYPE_CHECKING:
    from neo_model.inputs.conversation import SpecialIds

TOKENIZER_JSON: Final = "tokenizer.json"
_VOCABULARY, _MERGES, _ADDED, _SETTINGS = "vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json"


@dataclass(frozen=True)
class FoundTokenizer:
    """The tokenizer of a folder."""

    content: bytes
    """The bytes of `tokenizer.json`: those of the folder, or built from its slow tokenizer."""
    ids: SpecialIds
    """Ids of the structural tokens, those that NEO adds included."""


def find_tokenizer(folder: ForeignFolder, scratch: Path, vocab_size: int) -> FoundTokenizer:
    """The tokenizer of a folder whose model has `vocab_size` rows.

    Raises `StageError` where there is none, or where its tokens and those that NEO adds do not fit the rows.
    """
    from neo_model.inputs.conversation import TokenizerError, load_tokenizer, special_ids

    content = _content(folder)
    scratch.mkdir(parents=True, exist_ok=True)
    (scratch / TOKENIZER_JSON).write_bytes(content)
    try:
        tokenizer = load_tokenizer(scratch, vocab_size=vocab_size)
    except TokenizerError as error:
        raise StageError(
            f"{folder}: {error}. NEO registers its image and box tokens after the tokenizer's last id, in rows of the "
            "embedding that no token uses yet (13 for a Qwen3): the model needs so many spare rows"
        ) from error
    except Exception as error:  # the tokenizers library raises a bare Exception for a file that it cannot read
        raise StageError(f"{folder}: {TOKENIZER_JSON} cannot be read: {error}") from error
    return FoundTokenizer(content, special_ids(tokenizer))


def _content(folder: ForeignFolder) -> bytes:
    if TOKENIZER_JSON in folder.files:
        return folder.read(TOKENIZER_JSON)
    if _VOCABULARY in folder.files and _MERGES in folder.files:
        return _built(folder)
    raise StageError(
        f"{folder} has no {TOKENIZER_JSON}, nor {_VOCABULARY} and {_MERGES}: save its tokenizer there with "
        "transformers, AutoTokenizer.from_pretrained(...).save_pretrained(...)"
    )


def _built(folder: ForeignFolder) -> bytes:
    """`tokenizer.json` of a slow tokenizer of Qwen2 and Qwen3, which have the same pieces and rules."""
    from tokenizers import AddedToken
    from transformers import Qwen2Tokenizer

    lines = folder.read(_MERGES).decode().splitlines()
    merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    tokenizer = Qwen2Tokenizer(vocab=folder.read_json(_VOCABULARY), merges=merges).backend_tokenizer
    for number, token in sorted(_added_tokens(folder).items()):
        content = token.pop("content")
        tokenizer.add_tokens([AddedToken(content, **token)])
        if tokenizer.token_to_id(content) != number:
            raise StageError(
                f"{folder}: token {content!r} has id {number}, but {tokenizer.token_to_id(content)} follows from "
                f"{_VOCABULARY}: save the tokenizer as {TOKENIZER_JSON}"
            )
    built: str = tokenizer.to_str(pretty=True)
    return built.encode()


def _added_tokens(folder: ForeignFolder) -> dict[int, dict[str, Any]]:
    """Id to the fields of each token beside the vocabulary, from the newer file or the older."""
    names = ("content", "special", "lstrip", "rstrip", "single_word", "normalized")
    if _SETTINGS in folder.files:
        described = folder.read_json(_SETTINGS).get("added_tokens_decoder")
        if described:
            return {int(key): {name: one[name] for name in names if name in one} for key, one in described.items()}
    if _ADDED in folder.files:
        added: dict[str, int] = json.loads(folder.read(_ADDED))
        return {number: {"content": token, "special": True} for token, number in added.items()}
    return {}
