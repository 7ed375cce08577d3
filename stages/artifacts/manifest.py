"""The manifest of an artifact, written last: its shape, its bytes, its digest, and its head read without the parts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from stages.artifacts.fingerprint import SHOWN_DIGITS, canonical_bytes
from stages.artifacts.records import FileEntry, InputRecord, ItemBalance, PartRecord, _Record
from stages.store.store import Store


class _ManifestFields(_Record):
    kind: str
    """Kind of the artifact: the name of its class in `kinds.py`, or of a user's own."""
    stage: str
    """Name of the stage that made it."""
    number: int
    """Number of that stage: a new one marks a change of what the stage makes."""
    fingerprint: str
    """Fingerprint of stage, recipe and inputs, 64 hex digits."""
    recipe: dict[str, Any]
    """The recipe in full, defaults included, for people and for comparison."""
    inputs: dict[str, InputRecord]
    """Artifacts that were read, by the name under which the stage knows them."""
    items: ItemBalance
    """Items of the artifact: kept, dropped and failed."""
    content: str
    """sha256 over the parts' names, bytes and facts: equal for two runs that made the same thing."""
    versions: dict[str, str]
    """Package to its version, for the packages in `versions.py`."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Run and attempt that committed it, and more about how it was made. Takes no part in the content digest."""


class Manifest(_ManifestFields):
    """The manifest of an artifact. It is written last: without one there is no artifact."""

    parts: tuple[PartRecord, ...]
    """Records of all parts, phase after phase."""


class ManifestHead(_ManifestFields):
    """A manifest without its parts, which may be many thousand. Plans and status need no more."""

    num_parts: int
    """Parts that the manifest lists."""


def content_digest(parts: tuple[PartRecord, ...]) -> str:
    """sha256 over `content` of the parts, 64 hex digits: the digest of the canonical bytes of their list.

    The list is hashed a part at a time, so its bytes are never in memory as a whole.
    """
    spelled = hashlib.sha256(b"[")
    for number, part in enumerate(parts):
        spelled.update(b"," if number else b"")
        spelled.update(canonical_bytes(part.content, f"part {part.phase}/{part.part}"))
    spelled.update(b"]")
    return spelled.hexdigest()


def artifact_folder(stage: str, fingerprint: str) -> str:
    """The key prefix of an artifact: `artifacts/<stage>/<fingerprint>`."""
    return f"artifacts/{stage}/{fingerprint[:SHOWN_DIGITS]}"


# What `manifest_bytes` writes, and `_head_of` cuts out between PARTS_BEGIN and PARTS_END:
#
#       "number": 1,
#       "parts": [
#         {"facts": {}, "files": [], ...},
#         {"facts": {}, "files": [], ...}
#       ],
#       "provenance": {...},
#
# A string of JSON holds no line break, so these bytes occur nowhere else.
PARTS_BEGIN = b'\n  "parts": ['
"""Begins the list of parts in the bytes of a manifest."""
PART_BEGIN = b"\n    {"
"""Begins each part."""
PARTS_END = b"\n  ],"
"""Ends the list of parts."""


def manifest_bytes(manifest: Manifest) -> bytes:
    """The manifest as JSON with sorted keys, indented for people, but for the parts: a line each."""
    fields = manifest.model_dump(mode="json", exclude={"parts"})
    spelled = {name: _spelled(value, indent=2).replace("\n", "\n  ") for name, value in fields.items()}
    lines = (_spelled(part.model_dump(mode="json")) for part in manifest.parts)
    spelled["parts"] = "[\n    {}\n  ]".format(",\n    ".join(lines))
    return "{{\n{}\n}}\n".format(",\n".join(f'  "{name}": {spelled[name]}' for name in sorted(spelled))).encode()


def _spelled(value: object, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False, allow_nan=False)


def read_manifest(store: Store, stage: str, fingerprint: str) -> Manifest | None:
    """The manifest committed under a fingerprint; None where there is no such artifact.

    Raises `TornRecordError` where the bytes are no JSON, `ValidationError` where they are no manifest.
    """
    key = _manifest_key(stage, fingerprint)
    data = store.read(key)
    try:
        return None if data is None else Manifest.model_validate_json(data)
    except ValidationError:
        store.read_json(key)  # raises where it does not even parse, and says why
        raise


def read_head(store: Store, stage: str, fingerprint: str) -> ManifestHead | None:
    """The head of the manifest committed under a fingerprint; None where there is no such artifact.

    The lines of the parts are cut out and counted, not parsed: damage inside one is not noticed here, but by
    `read_manifest`. Bytes that are indented otherwise are parsed as a whole.
    """
    data = store.read(_manifest_key(stage, fingerprint))
    head = None if data is None else _head_of(data)
    if data is None or head is not None:
        return head
    whole = read_manifest(store, stage, fingerprint)
    return None if whole is None else ManifestHead(num_parts=len(whole.parts), **whole.model_dump(exclude={"parts"}))


def _head_of(data: bytes) -> ManifestHead | None:
    """The head, or None where the bytes are not as `manifest_bytes` writes them."""
    first = data.find(PARTS_BEGIN)
    last = data.find(PARTS_END, first)
    try:
        fields = json.loads(data[:first] + data[last + len(PARTS_END) :]) if 0 <= first < last else None
        return fields and ManifestHead(num_parts=data.count(PART_BEGIN, first, last), **fields)
    except (TypeError, ValueError):
        return None


def _manifest_key(stage: str, fingerprint: str) -> str:
    return f"{artifact_folder(stage, fingerprint)}/manifest.json"


def find_file(manifest: Manifest, name: str) -> FileEntry | None:
    """The first file called `name`, in any part and any folder of it, or None: `a.json` finds `model/a.json`."""
    entries = (entry for part in manifest.parts for entry in part.files)
    return next((entry for entry in entries if Path(entry.name).name == name), None)
