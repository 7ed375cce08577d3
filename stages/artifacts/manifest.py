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
    stage: str
    number: int
    fingerprint: str
    recipe: dict[str, Any]
    """The recipe in full, defaults included, for people and for comparison."""
    inputs: dict[str, InputRecord]
    items: ItemBalance
    content: str
    """sha256 over the parts' names, bytes and facts: equal for two runs that made the same thing."""
    versions: dict[str, str]
    provenance: dict[str, Any] = Field(default_factory=dict)


class Manifest(_ManifestFields):
    """The sidecar written last. No manifest, no artifact."""

    parts: tuple[PartRecord, ...]


class ManifestHead(_ManifestFields):
    """What a plan needs to know of an artifact: its manifest without the parts, which may be many thousand."""

    num_parts: int


def content_digest(parts: tuple[PartRecord, ...]) -> str:
    """sha256 over what the parts hold, 64 hex digits: that of the canonical bytes of their list."""
    spelled = hashlib.sha256(b"[")
    for number, part in enumerate(parts):
        spelled.update(b"," if number else b"")
        spelled.update(canonical_bytes(part.content, f"part {part.phase}/{part.part}"))
    spelled.update(b"]")
    return spelled.hexdigest()


def artifact_folder(stage: str, fingerprint: str) -> str:
    """The key prefix of an artifact: `artifacts/<stage>/<fingerprint>`."""
    return f"artifacts/{stage}/{fingerprint[:SHOWN_DIGITS]}"


PARTS_BEGIN = b'\n  "parts": ['
"""Where the list of parts begins in the bytes of a manifest: no string of JSON holds a line break."""


PART_BEGIN = b"\n    {"


PARTS_END = b"\n  ],"


def manifest_bytes(manifest: Manifest) -> bytes:
    """The manifest as JSON with sorted keys, a line for each part: people read it, and parts may be many thousand."""
    fields = manifest.model_dump(mode="json", exclude={"parts"})
    spelled = {name: _spelled(value, indent=2).replace("\n", "\n  ") for name, value in fields.items()}
    lines = (_spelled(part.model_dump(mode="json")) for part in manifest.parts)
    spelled["parts"] = "[\n    {}\n  ]".format(",\n    ".join(lines))
    return "{{\n{}\n}}\n".format(",\n".join(f'  "{name}": {spelled[name]}' for name in sorted(spelled))).encode()


def _spelled(value: object, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False, allow_nan=False)


def read_manifest(store: Store, stage: str, fingerprint: str) -> Manifest | None:
    """The manifest committed under a fingerprint, or None: then there is no such artifact."""
    key = _manifest_key(stage, fingerprint)
    data = store.read(key)
    try:
        return None if data is None else Manifest.model_validate_json(data)
    except ValidationError:
        store.read_json(key)  # raises where it does not even parse, and says why
        raise


def read_head(store: Store, stage: str, fingerprint: str) -> ManifestHead | None:
    """The head of the manifest committed under a fingerprint, or None: then there is no such artifact.

    The lines of the parts are cut out unread, so this takes little more memory than their bytes. That the last of them
    is there is seen; whether each is whole is for `read_manifest` to find.
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
    """The first file of that name, whatever its part and folder."""
    entries = (entry for part in manifest.parts for entry in part.files)
    return next((entry for entry in entries if Path(entry.name).name == name), None)
