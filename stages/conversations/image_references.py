"""Finds the pictures that a record of a conversation or a question refers to.

Owns where the pictures of a record stand and what each is called: `collect_images` fetches pictures by these names, and
`read_conversations` and `read_questions` look them up by the same names. Reads no file.

A picture stands in a field of the record (`image`, `images`, `image_path`, ...) or in a part of a message
(`{"type": "image_url", "image_url": {"url": ...}}`). It is given as a URL, as a path, as a `data:` URI, as base64, or
as bytes (`{"bytes": ..., "path": ...}`, as the hub's Parquet has it).
"""

from __future__ import annotations

import ast
import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import unquote, unquote_to_bytes

Record: TypeAlias = Mapping[str, Any]
"""One row of a table as plain Python values, its columns under the names that are used here."""

IMAGE_FIELDS: Final = ("images", "image", "image_path", "image_paths", "image_url", "image_urls")
"""Fields of a record that hold its pictures; the first that holds any counts."""
MESSAGE_FIELDS: Final = ("messages", "conversations", "conversation", "dialog", "dialogue", "turns", "chat")
"""Fields of a record that may hold its turns."""
BASE64_STARTS: Final = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR", "Qk", "SUkq", "TU0A")
"""How base64 begins: JPEG, PNG, GIF, WebP, BMP and TIFF in both byte orders."""
MAX_NAME_CHARS: Final = 64
"""Longest text that is never taken for base64, and longest number of another row: 64 characters, as VLMEvalKit does."""
_NUMBERED: Final = re.compile(r"image_?(\d+)")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_\-\s]+=*\s*")


class ImageReferenceError(ValueError):
    """A value that stands where a picture should and refers to none; the message gives the value."""


class ImageReference(NamedTuple):
    """One picture that a record refers to."""

    name: str
    """A URL or a path as the record spells it, or `sha256:` and 64 hex digits of a picture that the record holds."""
    data: bytes | None = None
    """The encoded picture where the record holds it, else None."""


def references_of(record: Record) -> list[ImageReference]:
    """All pictures of a record: those of its fields in order, then those of the parts of its messages in order.

    A picture that stands twice is listed twice. Raises `ImageReferenceError` where a value is no picture.
    """
    references = field_references(record)
    for field in MESSAGE_FIELDS:
        for message in listed(record.get(field)):
            references += [one for part in parts_of(message) if (one := part_reference(part)) is not None]
    return references


def parts_of(message: Any) -> Iterator[Record]:
    """The parts of a message, in whichever of its fields they stand: dictionaries in a list, or one by itself."""
    for value in message.values() if isinstance(message, Mapping) else ():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, Mapping):
                yield part


def field_references(record: Record) -> list[ImageReference]:
    """The pictures in the fields of a record, in order. Raises `ImageReferenceError`.

    A field that names another row of its table instead of a picture, as VLMEvalKit's tables do to save space, gives
    none: see `row_referred_to`.
    """
    if row_referred_to(record) is not None:
        return []
    for field in (*IMAGE_FIELDS, _numbered_fields(record)):
        values = [record.get(field)] if isinstance(field, str) else [record.get(name) for name in field]
        references = [reference for value in values for reference in value_references(value)]
        if references:
            return references
    return []


def row_referred_to(record: Record) -> str | None:
    """The `index` of the row whose pictures this row of a question table shares, or None where it has its own.

    VLMEvalKit's rule: an `image` of at most 64 characters in a table with an `index` is the index of another row. A
    name with a dot or a slash is a file here.
    """
    image = record.get("image")
    if record.get("index") is None or not isinstance(image, str | int) or isinstance(image, bool):
        return None
    name = str(image).strip()
    return name if 0 < len(name) <= MAX_NAME_CHARS and not re.search(r"[./\\:\[]", name) else None


def part_reference(part: Record) -> ImageReference | None:
    """The picture of one part of a message; None where the part is something else, or says only that one stands here.

    Raises `ImageReferenceError` where it is an image part whose value is no picture.
    """
    if (part.get("type") or "image") not in ("image", "image_url", "input_image"):
        return None
    source = part.get("source")
    if isinstance(source, Mapping) and (source.get("data") or source.get("url")):
        part = {"base64": source.get("data"), "url": source.get("url")}
    if part.get("base64"):
        return _held(_decoded(str(part["base64"])))
    for field in ("image", "image_url", "url", "path", "bytes"):
        references = list(value_references(part.get(field)))
        if references:
            return references[0]
    return None


def value_references(value: Any) -> Iterator[ImageReference]:
    """The pictures that one value refers to: none for null and empty text, several for a list.

    Raises `ImageReferenceError` where it is anything else than text, bytes, a dictionary or a list of these.
    """
    if value is None or (isinstance(value, str | bytes) and not value):
        return
    if isinstance(value, bytes):
        yield _held(value)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from value_references(one)
    elif isinstance(value, Mapping):
        yield from _mapping_references(value)
    elif isinstance(value, str):
        yield from _text_references(value.strip())
    else:
        raise ImageReferenceError(f"{value!r} is no picture: expected a URL, a path, a data: URI or bytes")


def listed(value: Any) -> list[Any]:
    """A list that a table holds as it is or as JSON text; [] for anything else."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return []
    return list(value) if isinstance(value, list | tuple) else []


def literal_list(text: str) -> list[Any] | None:
    """A list that stands in a table of text as JSON or as Python spells it; None where it is no list."""
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, list):
            return value
    return None


def _mapping_references(value: Mapping[str, Any]) -> Iterator[ImageReference]:
    for field in ("bytes", "url", "path", "image", "base64", "data"):
        held = value.get(field)
        if held is not None and held not in ("", b"", [], {}):
            yield from value_references(held)
            return
    if any(held is not None for held in value.values()):
        raise ImageReferenceError(f"a picture with the fields {', '.join(value)}: expected bytes, path or url")


def _text_references(text: str) -> Iterator[ImageReference]:
    if not text:
        return
    if text.startswith("[") and text.endswith("]"):
        values = literal_list(text)
        if values is None:
            raise ImageReferenceError(f"{text[:80]!r} begins like a list of pictures and is none")
        yield from value_references(values)
    elif text[:5].lower() == "data:":
        yield _held(_from_data_uri(text))
    elif len(text) > MAX_NAME_CHARS and text.startswith(BASE64_STARTS) and _BASE64.fullmatch(text):
        yield _held(_decoded(text))
    elif text[:7].lower() == "file://":
        yield ImageReference(unquote(text[7:].removeprefix("localhost")))
    else:
        yield ImageReference(text)


def _from_data_uri(uri: str) -> bytes:
    """The bytes of `data:image/png;base64,...`. Raises `ImageReferenceError`."""
    head, comma, body = uri.partition(",")
    if not comma:
        raise ImageReferenceError(f"{uri[:40]!r} is no data: URI: it has no comma")
    if head.lower().rstrip().endswith(";base64"):
        return _decoded(unquote(body))
    return unquote_to_bytes(body)


def _decoded(text: str) -> bytes:
    """The bytes of base64, with or without padding and line ends. Raises `ImageReferenceError`."""
    plain = "".join(text.split()).translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageReferenceError(f"{text[:40]!r} is not base64: {error}") from error


def _held(data: bytes) -> ImageReference:
    return ImageReference(f"sha256:{hashlib.sha256(data).hexdigest()}", data)


def _numbered_fields(record: Record) -> list[str]:
    """The fields `image_1`, `image_2`, ... of a record, by rising number."""
    numbers = {name: int(match[1]) for name in record if (match := _NUMBERED.fullmatch(name))}
    return sorted(numbers, key=lambda name: numbers[name])
