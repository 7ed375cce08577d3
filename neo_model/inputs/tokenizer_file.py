"""Reads `tokenizer.json` of somebody else: judged field by field before the tokenizers library sees it.

Owns which families are known. A tokenizer is a program of sorts: its regular expressions can take exponential time, its
rules can blow a text up, and the library panics where it cannot go on, which no `except Exception` catches. So patterns
are compared with those of the published families, components have a list, and numbers have bounds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from neo_model.config_fields import shown

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_FILE_BYTES: Final = 100_000_000
"""Largest file that is read; the tokenizer of Qwen3 has 11 MB."""
MAX_DEPTH: Final = 24
"""Deepest nesting of lists and objects; Qwen3 has 6 levels."""
MAX_COMPONENTS: Final = 64
"""Most components and pieces of templates beside the vocabulary."""
MAX_GROWING: Final = 4
"""Most rules that write more characters than they read."""
MAX_INSERTED_CHARACTERS: Final = 4
"""Longest text that such a rule writes, in characters."""
MAX_TOKENS: Final = 2_000_000
"""Most pieces, and most added tokens."""
MAX_TOKEN_CHARACTERS: Final = 4_000
"""Longest piece; vocabularies of the web hold runs of a thousand blanks."""
MAX_BLANK_RUN: Final = 1_000_000
"""Longest run of white space, in characters, that is tokenised: patterns give up on runs some ten times as long."""

_CONTRACTIONS: Final = r"'s|'t|'re|'ve|'m|'ll|'d"
_END: Final = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT_4: Final = rf"(?i:{_CONTRACTIONS})|[^\r\n\p{{L}}\p{{N}}]?LETTERS+|DIGITS| ?[^\s\p{{L}}MARKS\p{{N}}]+[\r\n]*|{_END}"
_CLIP: Final = rf"{_CONTRACTIONS}|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+"


def _like_gpt_4(letters: str, digits: str, marks: str = "") -> str:
    return _GPT_4.replace("LETTERS", letters).replace("DIGITS", digits).replace("MARKS", marks)


KNOWN_PATTERNS: Final[Mapping[str, str]] = {
    _like_gpt_4(r"\p{L}", r"\p{N}"): "Qwen2, Qwen3",
    _like_gpt_4(r"[\p{L}\p{M}]", r"\p{N}", r"\p{M}"): "Qwen3.5",
    _like_gpt_4(r"\p{L}", r"\p{N}{1,3}"): "Llama 3",
    rf"{_CONTRACTIONS}| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|\s+(?!\S)|\s+": "GPT-2",
    _CLIP: "CLIP",
    rf"<\|startoftext\|>|<\|endoftext\|>|{_CLIP}": "CLIP",
    r"\s+": "CLIP",
}
"""Regular expressions that take time in proportion to the text, to a family that has it."""
_NORMALIZERS: Final = {"Sequence", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Strip", "StripAccents", "Nmt", "Replace",
                       "Prepend", "BertNormalizer", "ByteLevel"}  # fmt: skip
_SPLITTERS: Final = {"Sequence", "Split", "ByteLevel", "Digits", "Whitespace", "WhitespaceSplit", "Punctuation",
                     "BertPreTokenizer", "Metaspace", "UnicodeScripts"}  # fmt: skip
_PROCESSORS: Final = {"Sequence", "ByteLevel", "TemplateProcessing", "RobertaProcessing", "BertProcessing"}
_DECODERS: Final = {"Sequence", "ByteLevel", "BPEDecoder", "WordPiece", "Metaspace", "ByteFallback", "Fuse", "Strip",
                    "Replace", "CTC"}  # fmt: skip
COMPONENTS: Final[Mapping[str, set[str]]] = {
    "normalizer": _NORMALIZERS, "pre_tokenizer": _SPLITTERS, "post_processor": _PROCESSORS, "decoder": _DECODERS,
}  # fmt: skip
"""Components by section. `Precompiled`, which holds a program in bytes, is none of them."""
MODELS: Final = ("BPE", "WordLevel", "WordPiece")
"""How pieces are found."""
_BLANKS: Final = re.compile(r"\s+")


class TokenizerError(ValueError):
    """A tokenizer that does not fit a NEO model, or is no tokenizer of a known family; the message gives the fault."""


def read_tokenizer(file: Path) -> Tokenizer:
    """Read a `tokenizer.json`. Raises TokenizerError in words for whatever is none of a known family."""
    size = file.stat().st_size
    if size > MAX_FILE_BYTES:
        raise TokenizerError(f"{file.name} has {size:,} bytes; a tokenizer has at most {MAX_FILE_BYTES:,}")
    return parse_tokenizer(file.read_bytes())


def parse_tokenizer(content: bytes) -> Tokenizer:
    """The tokenizer in the bytes of a `tokenizer.json`. Raises TokenizerError as `read_tokenizer` does."""
    from tokenizers import Tokenizer

    document = _parsed(content)
    check_tokenizer(document)
    try:
        # What was judged is what is loaded: another parser could see other fields in the same bytes. How a file would
        # cut and pad is left out: it is never used, and a billion tokens of padding can be asked for.
        judged = document | {"truncation": None, "padding": None}
        return Tokenizer.from_str(json.dumps(judged, ensure_ascii=False))
    except BaseException as error:  # the library raises bare Exceptions, and panics, which are BaseExceptions
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise TokenizerError(f"tokenizer.json cannot be loaded: {shown(str(error))}") from error


def check_tokenizer(document: Any) -> None:
    """Raise TokenizerError unless a parsed `tokenizer.json` is one of a known family, within bounds."""
    if not isinstance(document, dict):
        raise TokenizerError("tokenizer.json is no JSON object")
    for section, allowed in COMPONENTS.items():
        _check_components(section, document.get(section), allowed)
    _check_added(document.get("added_tokens"))
    _check_model(document.get("model"))


def has_endless_blank(text: str) -> bool:
    """Whether a text has a run of white space that is longer than `MAX_BLANK_RUN`."""
    return len(text) > MAX_BLANK_RUN and any(
        found.end() - found.start() > MAX_BLANK_RUN for found in _BLANKS.finditer(text)
    )


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content.decode(), object_pairs_hook=_object, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        if isinstance(error, TokenizerError):
            raise
        raise TokenizerError(f"tokenizer.json is no JSON: {shown(str(error))}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise TokenizerError("tokenizer.json has an object with the same name twice")
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise TokenizerError(f"tokenizer.json has {name}, which is no number")


def _check_components(section: str, component: Any, allowed: set[str]) -> None:
    """Judge a section: every component in it is known, and every rule bounded."""
    if component is None:
        return
    if not isinstance(component, dict) or not isinstance(component.get("type"), str):
        raise TokenizerError(f"{section} of tokenizer.json is {shown(component)}; it is null or an object with a type")
    num_components = num_growing = 0
    for part in _objects(section, component, 0):
        kind = part.get("type")
        num_components += 1
        if isinstance(kind, str) and kind not in allowed:
            known = ", ".join(sorted(allowed))
            raise TokenizerError(f"{section} of tokenizer.json has {shown(kind)}; known are {known}")
        if "Regex" in part and not (isinstance(part["Regex"], str) and part["Regex"] in KNOWN_PATTERNS):
            known = ", ".join(sorted(set(KNOWN_PATTERNS.values())))
            raise TokenizerError(
                f"{section} of tokenizer.json has the regular expression {shown(part['Regex'])}, of no known family "
                f"({known}): its time has no bound that is known"
            )
        if kind in ("Replace", "Prepend"):
            num_growing += 1
            _check_inserted(section, part.get("content", part.get("prepend")))
    if num_components > MAX_COMPONENTS or num_growing > MAX_GROWING:
        raise TokenizerError(
            f"{section} of tokenizer.json has {num_components:,} parts, {num_growing:,} of which write text; at most "
            f"{MAX_COMPONENTS} and {MAX_GROWING} are taken"
        )


def _check_inserted(section: str, text: Any) -> None:
    if not isinstance(text, str) or len(text) > MAX_INSERTED_CHARACTERS:
        raise TokenizerError(
            f"{section} of tokenizer.json writes {shown(text)}; at most {MAX_INSERTED_CHARACTERS} characters are taken"
        )


def _objects(section: str, value: Any, depth: int) -> Iterator[dict[str, Any]]:
    """Every object in a value."""
    if depth > MAX_DEPTH:
        raise TokenizerError(f"{section} of tokenizer.json is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        yield value
        for one in value.values():
            yield from _objects(section, one, depth + 1)
    elif isinstance(value, list):
        for one in value:
            yield from _objects(section, one, depth + 1)


def _check_added(added: Any) -> None:
    """Judge the tokens beside the vocabulary."""
    if not isinstance(added, list | None) or len(added or ()) > MAX_TOKENS:
        raise TokenizerError(f"added_tokens of tokenizer.json is no list of at most {MAX_TOKENS:,} tokens")
    for token in added or ():
        if not isinstance(token, dict):
            raise TokenizerError(f"added_tokens of tokenizer.json has {shown(token)}, which is no object")
        _check_piece("added_tokens", token.get("content"), token.get("id"))
        if not token["content"]:
            raise TokenizerError("added_tokens of tokenizer.json has a token without content")


def _check_model(model: Any) -> None:
    """Judge the vocabulary and the merges."""
    kind = model.get("type", "BPE") if isinstance(model, dict) else None
    if kind not in MODELS:
        raise TokenizerError(f"model of tokenizer.json is of type {shown(kind)}; known are {', '.join(MODELS)}")
    if model.get("dropout") not in (None, 0, 0.0):
        raise TokenizerError("model of tokenizer.json has a dropout: the same text would have other tokens each time")
    vocabulary, merges = model.get("vocab"), model.get("merges", [])
    if not isinstance(vocabulary, dict) or len(vocabulary) > MAX_TOKENS:
        raise TokenizerError(f"vocab of tokenizer.json is no object of at most {MAX_TOKENS:,} pieces")
    for piece, number in vocabulary.items():
        _check_piece("vocab", piece, number)
    if not isinstance(merges, list) or len(merges) > MAX_TOKENS:
        raise TokenizerError(f"merges of tokenizer.json is no list of at most {MAX_TOKENS:,} pairs")
    for pair in merges:
        is_pair = isinstance(pair, Sequence) and len(pair.split(" ") if isinstance(pair, str) else pair) == 2
        if not is_pair:
            raise TokenizerError(f"merges of tokenizer.json has {shown(pair)}, which is no pair of pieces")


def _check_piece(section: str, piece: Any, number: Any) -> None:
    if not isinstance(piece, str) or len(piece) > MAX_TOKEN_CHARACTERS:
        raise TokenizerError(f"{section} of tokenizer.json has {shown(piece)}; a piece is text of at most "
                             f"{MAX_TOKEN_CHARACTERS:,} characters")  # fmt: skip
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 10 * MAX_TOKENS:
        raise TokenizerError(f"{section} of tokenizer.json gives {shown(piece)} the id {shown(number)}; ids are whole "
                             f"numbers from 0 to {10 * MAX_TOKENS - 1:,}")  # fmt: skip
