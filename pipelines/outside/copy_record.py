"""What a copy records of itself, so that it can be verified without its store.

    FOLDER/.neo/lineage.json    the artifact and all that it was made from, with their Merkle roots
    FOLDER/.neo/files.jsonl     a line for each file of the artifact, in the order of its leaves: where a copy has it,
                                its size and digest, and whether this copy does

Owns these two files. The second is written and read a line at a time: memory does not grow with its files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pipelines.outside.held_files import all_files
from pipelines.outside.target_folder import HIDDEN
from stages.artifacts.ancestry import ancestry
from stages.artifacts.artifact import Artifact
from stages.artifacts.head import files_root_of
from stages.artifacts.kinds import LINEAGE_FILE, MODEL_PREFIX
from stages.artifacts.merkle import canonical
from stages.exporting.lineage_file import described, sealed
from stages.exporting.lineage_shape import MAX_SIZE_BYTES
from stages.store.errors import StoreError

FILES_FILE: Final = "files.jsonl"
"""Name of the list of files, in the hidden folder of a copy."""


def write_record(artifact: Artifact, folder: Path, patterns: Sequence[str]) -> None:
    """Write both files into the hidden folder of a copy. `patterns` are those that its files were chosen by."""
    _put(folder / HIDDEN / LINEAGE_FILE, iter([record_bytes(artifact)]))
    _put(folder / HIDDEN / FILES_FILE, _lines(artifact, folder, patterns))


def record_bytes(artifact: Artifact) -> bytes:
    """`lineage.json` of a copy of an artifact: the same bytes for every copy, whichever files it has."""
    return sealed(chain_document(artifact))


def chain_document(artifact: Artifact) -> dict[str, Any]:
    """An artifact and all that it was made from, with their roots: what `lineage.json` of a copy holds.

    Of an artifact whose ancestors are gone or were made again since, it alone is told, and why; it has no root then.
    """
    store = artifact.store
    try:
        heads, lacking = ancestry(artifact), ""
        roots: dict[str, str] = {}
        entries = []
        for head in heads:
            entry = described(head, files_root_of(store, head), roots)
            roots[head.fingerprint] = entry["root"]
            entries.append(entry)
    except StoreError as error:
        head, lacking = artifact.head, str(error)
        nothing = {item.fingerprint: "" for item in head.inputs.values()}
        entries = [{**described(head, files_root_of(store, head), nothing), "root": None}]
    return {"artifact": artifact.fingerprint, "artifacts": entries, "lacking": lacking}


def read_files(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a list of files. Raises `ValueError` for one that is not spelled as `write_record` spells it."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            yield _read_line(line, f"line {number}")


def part_of_model(path: Path) -> tuple[str, str] | None:
    """Phase and part of the last file of a list, if that part holds a model: then the artifact does, too.

    Two lines are parsed, the others are only looked through. Raises `ValueError` where one of the two is damaged.
    """
    model = last = b""
    with path.open("rb") as lines:
        for line in lines:
            last, model = line, line if _NAMED_AS_MODEL in line else model
    if not model:
        return None
    parts = [(file["phase"], file["part"]) for file in (_read_line(model, "a line"), _read_line(last, "the last line"))]
    return parts[0] if parts[0] == parts[1] else None


def _read_line(line: bytes, named: str) -> dict[str, Any]:
    try:
        file = json.loads(line)
        is_ours = canonical(file) + b"\n" == line and {name: type(value) for name, value in file.items()} == _TYPES
        is_ours = is_ours and 0 <= file["size_bytes"] <= MAX_SIZE_BYTES and bool(_SHA256.fullmatch(file["sha256"]))
    except (AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"{named} cannot be read: {error}") from error
    if not is_ours:
        raise ValueError(f"{named} is not as it was written")
    return dict(file)


_TYPES = {"copied": bool, "name": str, "part": str, "path": str, "phase": str, "sha256": str, "size_bytes": int}
_SHA256 = re.compile("[0-9a-f]{64}")
_NAMED_AS_MODEL = f'"name":"{MODEL_PREFIX}'.encode()


def _lines(artifact: Artifact, folder: Path, patterns: Sequence[str]) -> Iterator[bytes]:
    for file, is_wanted in all_files(artifact, patterns):
        line: Mapping[str, Any] = {
            "copied": is_wanted or (folder / file.path).exists(),  # by an earlier command with other patterns
            "name": file.entry.name,
            "part": file.part,
            "path": file.path,
            "phase": file.phase,
            "sha256": file.entry.sha256,
            "size_bytes": file.entry.size_bytes,
        }
        yield canonical(line) + b"\n"


def _put(path: Path, pieces: Iterator[bytes]) -> None:
    """Write a file under another name first, so that it is there as a whole or not at all."""
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        file.writelines(pieces)
    draft.replace(path)
