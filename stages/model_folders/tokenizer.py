"""The tokenizer of a model folder as one `tokenizer.json`, and the ids of NEO's tokens in it.

A folder that was saved with a slow tokenizer has `vocab.json` and `merges.txt` instead, as the released training kit
saves it; `tokenizer.json` is then built from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stages.contract import StageError
from stages.model_folders.folder import ForeignFolder

if TYPE_CHECKING:
    from neo_model.inputs.conversation import SpecialIds

TOKENIZER_JSON: Final = "tokenizer.json"
MAX_ID_DIGITS: Final = 10
"""Digits of an id that are read."""
_FLAGS: Final = ("special", "lstrip", "rstrip", "single_word", "normalized")
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
    from neo_model.inputs.conversation import load_tokenizer, special_ids
    from neo_model.inputs.tokenizer_file import TokenizerError, parse_tokenizer

    content = _content(folder)
    try:
        parse_tokenizer(content)
    except TokenizerError as error:
        raise StageError(f"{folder}: {error}") from error
    scratch.mkdir(parents=True, exist_ok=True)
    (scratch / TOKENIZER_JSON).write_bytes(content)
    try:
        tokenizer = load_tokenizer(scratch, vocab_size=vocab_size)
    except TokenizerError as error:
        raise StageError(
            f"{folder}: {error}. NEO registers its image and box tokens after the tokenizer's last id, in rows of the "
            "embedding that no token uses yet (13 for a Qwen3): the model needs so many spare rows"
        ) from error
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

    from neo_model.config_fields import shown
    from neo_model.inputs.tokenizer_file import TokenizerError, check_tokenizer

    pieces, merges, added = folder.read_json(_VOCABULARY), _merges(folder), _added_tokens(folder)
    listed = [{"id": number, "content": token.get("content")} for number, token in added.items()]
    try:
        check_tokenizer({"model": {"type": "BPE", "vocab": pieces, "merges": merges}, "added_tokens": listed})
        tokenizer = Qwen2Tokenizer(vocab=pieces, merges=[tuple(pair) for pair in merges]).backend_tokenizer
    except TokenizerError as error:
        raise StageError(f"{folder}: a tokenizer of {_VOCABULARY} and {_MERGES}: {error}") from error
    except Exception as error:  # the library raises bare Exceptions, such as for a merge of pieces that there are not
        raise StageError(f"{folder}: {_VOCABULARY} and {_MERGES} make no tokenizer: {shown(str(error))}") from error
    for number, token in sorted(added.items()):
        content = token.pop("content")
        tokenizer.add_tokens([AddedToken(content, **token)])
        if tokenizer.token_to_id(content) != number:
            raise StageError(
                f"{folder}: token {shown(content)} has id {number}, but {tokenizer.token_to_id(content)} follows from "
                f"{_VOCABULARY}: save the tokenizer as {TOKENIZER_JSON}"
            )
    built: str = tokenizer.to_str(pretty=True)
    return built.encode()


def _merges(folder: ForeignFolder) -> list[list[str]]:
    try:
        lines = folder.read(_MERGES).decode().splitlines()
    except UnicodeError as error:
        raise StageError(f"{folder}: {_MERGES} is no UTF-8: {error}") from error
    return [line.split(" ") for line in lines if line and not line.startswith("#version")]


def _added_tokens(folder: ForeignFolder) -> dict[int, dict[str, Any]]:
    """Id to the fields of each token beside the vocabulary, from the newer file or the older."""
    from neo_model.config_fields import shown

    if _SETTINGS in folder.files:
        described = folder.read_json(_SETTINGS).get("added_tokens_decoder")
        if described:
            return _described_tokens(folder, described)
    if _ADDED in folder.files:
        added = folder.read_json(_ADDED)
        if wrong := [number for number in added.values() if not isinstance(number, int)]:
            raise StageError(f"{folder}: {_ADDED} has the id {shown(wrong[0])}; ids are whole numbers")
        return {number: {"content": token, "special": True} for token, number in added.items()}
    return {}


def _described_tokens(folder: ForeignFolder, described: Any) -> dict[int, dict[str, Any]]:
    """The tokens that `added_tokens_decoder` describes: id, in digits, to content and flags."""
    from neo_model.config_fields import shown

    if not isinstance(described, dict):
        raise StageError(f"{folder}: added_tokens_decoder of {_SETTINGS} is {shown(described)}, and no object")
    tokens: dict[int, dict[str, Any]] = {}
    for key, one in described.items():
        flags = {name: one[name] for name in _FLAGS if name in one} if isinstance(one, dict) else None
        is_sound = flags is not None and all(isinstance(flag, bool) for flag in flags.values())
        if not is_sound or not (key.isascii() and key.isdigit() and len(key) < MAX_ID_DIGITS):
            raise StageError(f"{folder}: added_tokens_decoder of {_SETTINGS} has {shown(key)}: {shown(one)}")
        tokens[int(key)] = {"content": one.get("content"), **(flags or {})}
    return tokens
