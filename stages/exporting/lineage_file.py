"""`lineage.json`: a lineage with its Merkle roots, as bytes that can be checked without a store.

Owns the format, which `docs/lineage.schema.json` describes for other programs: how the document is spelled, what its
roots are computed from, and what is wrong with one. Pure functions of JSON: they grow with the artifacts of a lineage,
some dozens, and with the files that are listed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import ManifestHead
from stages.artifacts.merkle import artifact_root, canonical, root_of

FORMAT: Final = "neo-lineage"
"""Value of `format` in the document."""
VERSION: Final = 1
"""Value of `version`: raised where a reader of the version before would misread the document."""
SEALED: Final = "document_root"
"""Field that holds the root over the rest of the document."""


class LineageFileError(ValueError):
    """These bytes are no lineage of this format; the message says why, as a phrase that follows a name."""


def described(head: ManifestHead, files_root: str, roots: Mapping[str, str]) -> dict[str, Any]:
    """What the document says of each artifact. `roots` has the roots of its inputs, by fingerprint."""
    entry = {
        "stage": head.stage,
        "number": head.number,
        "kind": head.kind,
        "fingerprint": head.fingerprint,
        "content": head.content,
        "recipe": head.recipe,
        "inputs": {name: item.model_dump() for name, item in head.inputs.items()},
        "items": head.items.model_dump(),
        "files_root": files_root,
    }
    return {**entry, "root": artifact_root(entry, files_root, roots)}


def sealed(document: Mapping[str, Any]) -> bytes:
    """The bytes of a document, with its format and the root over all of it. There is one spelling."""
    whole = {"format": FORMAT, "version": VERSION, **document}
    return _spelled({**whole, SEALED: _document_root(whole)})


def opened(data: bytes) -> dict[str, Any]:
    """The document in these bytes, if it is one of this format, and as it was sealed.

    Raises `LineageFileError` for anything else: another format or version, a changed letter, another spelling.
    """
    try:
        document = json.loads(data)
        is_ours = document["format"] == FORMAT
        version = document["version"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise LineageFileError(f"is no document of format {FORMAT} ({type(error).__name__}: {error})") from error
    if not is_ours or version != VERSION:
        raise LineageFileError(
            f"has format {document['format']!r}, version {version!r}; known is {FORMAT!r}, {VERSION}"
        )
    try:
        is_as_sealed = document.get(SEALED) == _document_root(document) and _spelled(document) == data
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise LineageFileError(f"cannot be read ({type(error).__name__}: {error})") from error
    if not is_as_sealed:
        raise LineageFileError(f"is not as it was written: its {SEALED} is that of another text")
    return dict(document)


def chain_problems(document: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the chain of roots of a document, a sentence each: nothing, if each root follows from the
    entry and from the roots of its inputs."""
    known: dict[str, Mapping[str, Any]] = {}
    entries: Sequence[Mapping[str, Any]] = [*document["artifacts"], *document.get("evaluated", ())]
    for entry in entries:
        named = f"{entry['stage']}/{entry['fingerprint'][:SHOWN_DIGITS]}"
        for name, item in entry["inputs"].items():
            parent = known.get(item["fingerprint"])
            if parent is None:
                yield f"{named} read {name} {item['fingerprint'][:SHOWN_DIGITS]}, which is not in the chain before it"
            elif parent["content"] != item["content"]:
                yield f"{named} read {name} with other content than the chain has for {parent['stage']}"
        if all(item["fingerprint"] in known for item in entry["inputs"].values()):
            roots = {fingerprint: one["root"] for fingerprint, one in known.items()}
            if artifact_root(entry, entry["files_root"], roots) != entry["root"]:
                yield f"the root of {named} is not that of what stands there"
        known[entry["fingerprint"]] = entry
    last = document.get("artifact", document.get("checkpoint"))
    if not document["artifacts"] or document["artifacts"][-1]["fingerprint"] != last:
        yield f"the chain does not end with {str(last)[:SHOWN_DIGITS]}"


def _document_root(document: Mapping[str, Any]) -> str:
    """The root over the document without its files, and each of its files."""
    rest = {name: value for name, value in document.items() if name not in (SEALED, "files")}
    files: Sequence[Mapping[str, Any]] = document.get("files", ())
    return root_of([canonical(rest), *(canonical(file) for file in files)])


def _spelled(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()
