"""The ancestry of an artifact: every artifact it was made from, back to those that read only outside data.

Owns the walk over recorded inputs and the check that each parent still holds what its child read.
"""

from __future__ import annotations

from stages.artifacts.artifact import Artifact
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import ManifestHead, read_head
from stages.store.errors import StoreError
from stages.store.store import Store


def ancestry(artifact: Artifact) -> list[ManifestHead]:
    """The heads of everything that `artifact` was made from, and its own; each once, inputs before their readers.

    Raises `StoreError` where a parent is missing or holds other content than its child read.
    """
    return ancestry_of(artifact.store, artifact.head)


def ancestry_of(store: Store, head: ManifestHead) -> list[ManifestHead]:
    """`ancestry` of the artifact with this head."""
    visited: dict[str, ManifestHead] = {}
    _visit(store, head, visited)
    return list(visited.values())


def _visit(store: Store, child: ManifestHead, visited: dict[str, ManifestHead]) -> None:
    """Add the ancestors of `child` to `visited`, by fingerprint, then `child`."""
    for name, wanted in child.inputs.items():
        parent = visited.get(wanted.fingerprint) or read_head(store, wanted.stage, wanted.fingerprint)
        reader = f"{child.stage}/{child.fingerprint[:SHOWN_DIGITS]} read as {name!r}"
        if parent is None:
            raise StoreError(
                f"{wanted.stage}/{wanted.fingerprint[:SHOWN_DIGITS]}, which {reader}, is not in {store.url}"
            )
        if parent.content != wanted.content:
            raise StoreError(
                f"{parent.stage}/{parent.fingerprint[:SHOWN_DIGITS]} holds {parent.content[:SHOWN_DIGITS]}, "
                f"but {reader} {wanted.content[:SHOWN_DIGITS]}: it was made again; run the pipeline again"
            )
        if parent.fingerprint not in visited:
            _visit(store, parent, visited)
    visited[child.fingerprint] = child
