"""The manifest of an artifact, whose creation commits it: its shape, its bytes, its digest, and its parts as a stream.

`head.py` owns the head, which stands for a manifest wherever its parts are not needed.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError

from stages.artifacts.fingerprint import SHOWN_DIGITS, canonical_bytes
from stages.artifacts.records import FileEntry, InputRecord, ItemBalance, PartRecord, _Record
from stages.store.errors import StoreError
from stages.store.record_kind import RecordKind, what_is_wrong
from stages.store.store import Store

FORK: Final = "fork"
"""Field of the provenance of a training that began from a checkpoint of another: what it remembers of that."""
CONDUCT_INPUTS: Final = "conduct_inputs"
"""Field of the provenance that names the inputs which take no part in identity."""


class ManifestFields(_Record):
    """What a manifest and its head both say of an artifact."""

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

    @property
    def identity_inputs(self) -> dict[str, InputRecord]:
        """The inputs that it is made of, without those that take no part in identity, such as held-out rows."""
        outside = self.provenance.get(CONDUCT_INPUTS, ())
        return {name: item for name, item in self.inputs.items() if name not in outside}


class Manifest(ManifestFields):
    """The manifest of an artifact. Without one there is no artifact."""

    parts: tuple[PartRecord, ...]
    """Records of all parts, phase after phase."""


MANIFEST = RecordKind[Manifest](
    Manifest,
    "the manifest of an artifact",
    "put it back from a copy, or run the pipeline again: it quarantines this one and folds it anew",
)


def content_digest(parts: Iterable[PartRecord]) -> str:
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


def owner_of(key: str) -> str:
    """The artifact in whose folder a file lies, by its key: `download_pairs/3f2a9c01d4e5`."""
    _, stage, fingerprint, *_ = key.split("/")
    return f"{stage}/{fingerprint[:SHOWN_DIGITS]}"


# What `manifest_bytes` writes, with the parts between PARTS_BEGIN and PARTS_END:
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
"""Begins the list of parts in the bytes of a manifest. A line for each part follows."""
PARTS_END = b"\n  ],"
"""Ends the list of parts."""
SPREAD_PART = b"\n    {\n"
"""Begins a list of parts where somebody indented them over several lines."""
STRETCH_BYTES = 4 * 1024 * 1024
"""Bytes of a manifest that are read at a time, where its parts are streamed."""


def manifest_bytes(manifest: Manifest) -> bytes:
    """The manifest as JSON with sorted keys, indented for people, but for the parts: a line each."""
    fields = manifest.model_dump(mode="json", exclude={"parts"})
    written = io.BytesIO()  # parts have a kilobyte each, so no second copy of all of them is made
    for number, name in enumerate(sorted([*fields, "parts"])):
        written.write(b",\n" if number else b"{\n")
        written.write(f'  "{name}": '.encode())
        if name == "parts":
            for place, part in enumerate(manifest.parts):
                written.write(b",\n    " if place else b"[\n    ")
                written.write(_spelled(part.model_dump(mode="json")).encode())
            written.write(b"\n  ]" if manifest.parts else b"[\n    \n  ]")
        else:
            written.write(_spelled(fields[name], indent=2).replace("\n", "\n  ").encode())
    written.write(b"\n}\n")
    return written.getvalue()


def _spelled(value: object, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False, allow_nan=False)


def read_manifest(store: Store, stage: str, fingerprint: str) -> Manifest | None:
    """The manifest committed under a fingerprint; None where there is no such artifact.

    Raises `TornRecordError` where the bytes are no manifest.
    """
    key = manifest_key(stage, fingerprint)
    data = store.read(key)
    try:
        return None if data is None else Manifest.model_validate_json(data)
    except ValidationError as error:
        MANIFEST.read(store, key)  # raises where it cannot be read, and says why
        raise StoreError(f"{store.url}/{key} was cut short on its way; run the command again") from error


def read_parts(store: Store, stage: str, fingerprint: str) -> Iterator[PartRecord]:
    """The records of all parts of a committed artifact, phase after phase, one at a time; none where it is missing.

    The manifest is read in stretches of `STRETCH_BYTES`: one of 39,000 parts has some 40 MB, and is never in memory as
    a whole unless its bytes are indented otherwise than `manifest_bytes` does it. Raises `TornRecordError` where a
    line is no part.
    """
    key = manifest_key(stage, fingerprint)
    size_bytes = store.size_bytes(key)
    if size_bytes is None:
        return
    lines = _lines(store.read_range(key, at, min(STRETCH_BYTES, size_bytes - at)) for at in _starts(size_bytes))
    # `in` reads up to the border of the list, so that what follows goes on behind it.
    first_line = next(lines, b"") if PARTS_BEGIN[1:] in lines else None
    if first_line is None or first_line == SPREAD_PART.strip(b"\n"):
        manifest = read_manifest(store, stage, fingerprint)
        yield from manifest.parts if manifest is not None else ()
        return
    for line in chain([first_line], lines):
        if line == PARTS_END[1:]:
            return
        if not line.strip():  # a manifest without parts
            continue
        try:
            yield PartRecord.model_validate_json(line.strip().removesuffix(b","))
        except ValidationError as error:
            raise MANIFEST.unreadable(f"{store.url}/{key}", f"a line of a part: {what_is_wrong(error)}") from error
    raise MANIFEST.unreadable(f"{store.url}/{key}", "its list of parts has no end")


def part_lines(data: bytes) -> Iterator[tuple[int, int]]:
    """Where the line of each part begins and ends in the bytes of a manifest, so that others can read some of them.

    Raises `ValueError` for bytes that are laid out otherwise than `manifest_bytes` does it.
    """
    first = data.find(PARTS_BEGIN)
    last = data.find(PARTS_END, first)
    start = first + len(PARTS_BEGIN)
    if not 0 <= first < last or data.startswith(SPREAD_PART, start):
        raise ValueError("the parts of this manifest have no lines of their own")
    while (start := start + 1) < last:
        end = data.find(b"\n", start, last)
        end = last if end < 0 else end
        if data[start:end].strip():
            yield start, end
        start = end


def parsed_lines(lines: bytes) -> Iterator[PartRecord]:
    """The parts in these lines of a manifest. Raises `ValueError` where one is no part."""
    for line in lines.split(b"\n"):
        yield PartRecord.model_validate_json(line.strip().removesuffix(b","))


def _starts(size_bytes: int) -> Iterable[int]:
    return range(0, size_bytes, STRETCH_BYTES)


def _lines(stretches: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of an object that is read in stretches, without their ends."""
    rest = b""
    for stretch in stretches:
        *whole, rest = (rest + stretch).split(b"\n")
        yield from whole
    if rest:
        yield rest


def manifest_key(stage: str, fingerprint: str) -> str:
    """Where the manifest of an artifact lies."""
    return f"{artifact_folder(stage, fingerprint)}/manifest.json"


def find_file(manifest: Manifest, name: str) -> FileEntry | None:
    """The first file called `name`, in any part and any folder of it, or None: `a.json` finds `model/a.json`."""
    entries = (entry for part in manifest.parts for entry in part.files)
    return next((entry for entry in entries if Path(entry.name).name == name), None)
