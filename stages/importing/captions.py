"""Finds the text beside a picture: in a member or file with its key, or in a field of a JSON object there.

Owns the endings of pictures and of texts, and the fields of JSON that are known to hold captions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from stages.formats.sample_table import ItemReason
from stages.importing.reasons import ImportReason

CaptionFrom: TypeAlias = Literal["beside", "file_name", "none"]
"""Where captions come from: text that the source has beside each picture, the picture's name, or nowhere."""

PICTURE_ENDINGS: Final = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "jfif"})
"""Endings of files that are taken for pictures; what they are is read from their bytes."""
TEXT_ENDINGS: Final = frozenset({"txt", "caption", "text", "json"})
"""Endings of files that may hold the text of a picture."""
PLAIN_TEXT_ENDINGS: Final = ("txt", "caption", "text")
CAPTION_FIELDS: Final = (
    "caption",
    "text",
    "txt",
    "TEXT",
    "CAPTION",
    "Caption",
    "alt_text",
    "alt",
    "description",
    "title",
)
"""Well-known names of captions in JSON, the surest first."""
URL_FIELDS: Final = ("url", "URL", "image_url")
"""Well-known names of a picture's web address in JSON."""
MAX_TEXT_BYTES: Final = 1024 * 1024
"""Largest file or member that is read as a text, in bytes."""


@dataclass(frozen=True, kw_only=True)
class PairRule:
    """Where the parts of a pair stand in a source. Part of the recipe, so part of identity."""

    captions: CaptionFrom
    """Where captions come from."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Our names (`image`, `caption`, `url`) to those of the source, for what is not to be guessed."""

    def caption(self, texts: Mapping[str, bytes | ItemReason], name: str) -> str | bytes | ItemReason:
        """The caption of the picture called `name`, which has `texts` beside it, by their endings."""
        if self.captions == "beside":
            return caption_of(texts, self.columns.get("caption"))
        return caption_of_name(name) if self.captions == "file_name" else ""


def caption_of(texts: Mapping[str, bytes | ItemReason], wanted: str | None) -> str | bytes | ItemReason:
    """The caption of a sample, or why it has none.

    `texts` maps endings to contents. `wanted` names an ending (`caption`, `blip.txt`) or a field of the JSON (`blip`,
    or `captions.blip` for a field of a field); where it is None, plain texts are taken first, then known fields.
    """
    if wanted is not None:
        return texts[wanted] if wanted in texts and wanted != "json" else _field(texts, (wanted,))
    for ending in PLAIN_TEXT_ENDINGS:
        if ending in texts:
            return texts[ending]
    return _field(texts, CAPTION_FIELDS)


def url_of(texts: Mapping[str, bytes | ItemReason]) -> str | None:
    """The web address that the JSON of a sample names, or None."""
    url = _field(texts, URL_FIELDS) if "json" in texts else None
    return url if isinstance(url, str) and not isinstance(url, ItemReason) and "://" in url else None


def caption_of_name(name: str) -> str:
    """The name of a file as a caption: `a/grinning-face_2.png` is `grinning face 2`."""
    stem = name.rpartition("/")[2].partition(".")[0]
    return stem.replace("_", " ").replace("-", " ").strip()


def parsed_json(content: bytes) -> Any:
    """JSON from outside. Raises `ValueError` where it cannot be read; never runs code."""
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _field(texts: Mapping[str, bytes | ItemReason], names: tuple[str, ...]) -> str | ItemReason:
    content = texts.get("json")
    if content is None:
        return ImportReason.NO_CAPTION
    if isinstance(content, ItemReason):
        return content
    try:
        parsed = parsed_json(content)
    except ValueError:
        return ImportReason.CAPTION_UNREADABLE
    if isinstance(parsed, str) and names is CAPTION_FIELDS:
        return parsed
    found = [value for name in names if (value := _inner(parsed, name)) is not None]
    if not found:
        return ImportReason.NO_CAPTION
    return found[0] if isinstance(found[0], str) else ImportReason.CAPTION_UNREADABLE


def _inner(value: Any, name: str) -> Any:
    """The field `name` of a JSON object, or the field `b` of its field `a` for `a.b`; None where there is none."""
    if isinstance(value, dict) and name in value:
        return value[name]
    for step in name.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value
