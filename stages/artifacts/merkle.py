"""Merkle roots: one digest for all files of an artifact, and one for it and everything that it was made from.

Owns how both are computed, from the digests that manifests already hold, so that nobody reads a file for them. The
trees are those of RFC 6962, section 2.1: a leaf is hashed behind the byte 0, a node behind the byte 1, and of n leaves
the largest power of two below n is on the left. The leaves of a tree come one at a time, and log2(n) digests are held.

    files root        a leaf for each file of each part, in the order of the manifest, by name within a part
    root              a leaf for what the artifact is, one for its files root, and one for each input with its own root
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from stages.artifacts.records import STEPS_PHASE

LEAF: Final = b"\x00"
"""Stands before the bytes of a leaf, so that no leaf can be mistaken for a node."""
NODE: Final = b"\x01"
"""Stands before the two digests of a node."""
IDENTITY_FIELDS: Final = ("stage", "number", "kind", "fingerprint", "content", "recipe", "items")
"""What the first leaf of an artifact's root is made of."""


class MerkleTree:
    """A tree that grows by a leaf at a time, and holds the roots of its whole halves alone.

    >>> tree = MerkleTree()
    >>> tree.root == hashlib.sha256().hexdigest()
    True
    """

    def __init__(self) -> None:
        self._num_leaves = 0
        self._whole: list[bytes] = []
        """Roots of the whole subtrees on the right edge, largest first: one for each bit of the number of leaves."""

    def add(self, leaf: bytes) -> None:
        """Add the next leaf, by its bytes."""
        digest = hashlib.sha256(LEAF + leaf).digest()
        number = self._num_leaves
        while number & 1:
            digest = hashlib.sha256(NODE + self._whole.pop() + digest).digest()
            number >>= 1
        self._whole.append(digest)
        self._num_leaves += 1

    @property
    def root(self) -> str:
        """The root of the leaves so far, 64 hex digits; of none, the digest of nothing."""
        if not self._whole:
            return hashlib.sha256().hexdigest()
        digest = self._whole[-1]
        for left in reversed(self._whole[:-1]):
            digest = hashlib.sha256(NODE + left + digest).digest()
        return digest.hex()


def root_of(leaves: Iterable[bytes]) -> str:
    """The root of these leaves, 64 hex digits."""
    tree = MerkleTree()
    for leaf in leaves:
        tree.add(leaf)
    return tree.root


def add_part(tree: MerkleTree, part: Mapping[str, Any]) -> None:
    """Add a leaf for each file of a part, which is given as the JSON of its record."""
    for entry in sorted(part["files"], key=lambda entry: entry["name"]):
        tree.add(file_leaf(part["phase"], part["part"], entry["name"], entry["size_bytes"], entry["sha256"]))


def file_leaf(phase: str, part: str, name: str, size_bytes: int, sha256: str) -> bytes:
    """The leaf of a file: its phase, part, name, size and digest, between zero bytes, which none of them holds.

    The part of a checkpoint is left out, because its number counts interruptions.
    """
    named = "" if phase == STEPS_PHASE else part
    return f"{phase}\0{named}\0{name}\0{size_bytes}\0{sha256}".encode()


def artifact_root(described: Mapping[str, Any], files_root: str, roots: Mapping[str, str]) -> str:
    """The root of an artifact, 64 hex digits.

    `described` is JSON with `IDENTITY_FIELDS` and `inputs`, as in a head; `roots` has the root of each input by its
    fingerprint. Raises `KeyError` for an input without one.
    """
    leaves = [canonical({name: described[name] for name in IDENTITY_FIELDS}), files_root.encode()]
    for name, item in sorted(described["inputs"].items()):
        leaves.append(
            canonical([name, item["stage"], item["fingerprint"], item["content"], roots[item["fingerprint"]]])
        )
    return root_of(leaves)


def canonical(value: object) -> bytes:
    """JSON of one spelling: sorted keys, no blanks. Raises `ValueError` for a number that JSON does not have."""
    spelled = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return spelled.encode()
