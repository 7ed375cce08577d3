"""The manifest of an artifact for an audit: read from the store once, its parts parsed one at a time and never kept.

A manifest of 39,000 parts has some 40 MB, and takes many times that once it is parsed. An audit passes over its parts
several times, and holds the bytes of one manifest at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from pipelines.lineage.graph import Node
from stages.artifacts.head import ManifestHead, head_of
from stages.artifacts.manifest import (
    MANIFEST,
    content_digest,
    manifest_bytes,
    manifest_key,
    parsed_lines,
    part_lines,
)
from stages.artifacts.records import PartRecord
from stages.store.record_kind import what_is_wrong


@dataclass(frozen=True)
class ReadManifest:
    """A manifest that can be read."""

    head: ManifestHead
    """Its fields and the sums over its parts, computed from the bytes in the store, with their sha256."""
    content: str
    """The content digest of its parts, computed; the one that it states is `head.content`."""
    data: bytes
    """The manifest, with a line for each part."""
    is_as_stored: bool
    """Whether these are the bytes in the store. One that was indented otherwise, as old versions did, is not."""

    @classmethod
    def of(cls, node: Node) -> Self | None:
        """The manifest of an artifact; None where it cannot be read, and `node.problem` says why."""
        key = manifest_key(node.stage, node.fingerprint)
        stored = node.store.read(key)
        if stored is None:
            return None
        try:
            return cls(head_of(stored), content_digest(_parts(stored)), stored, is_as_stored=True)
        except ValueError:
            pass
        manifest = node.manifest
        if manifest is None:
            return None
        try:
            head = head_of(stored)
        except ValueError as error:
            raise MANIFEST.unreadable(f"{node.store.url}/{key}", what_is_wrong(error)) from error
        return cls(head, content_digest(manifest.parts), manifest_bytes(manifest), is_as_stored=False)

    @property
    def key(self) -> str:
        """Where it lies."""
        return manifest_key(self.head.stage, self.head.fingerprint)

    @property
    def num_files(self) -> int:
        """Files of all its parts."""
        return sum(phase.num_files for phase in self.head.phases)

    def parts(self) -> Iterator[PartRecord]:
        """Its parts, phase after phase, parsed as they are asked for."""
        return _parts(self.data)

    def lines(self) -> Iterator[tuple[tuple[int, int], PartRecord]]:
        """Its parts, each with the place of its line in `data`."""
        return zip(part_lines(self.data), self.parts(), strict=True)


def _parts(data: bytes) -> Iterator[PartRecord]:
    return (part for start, end in part_lines(data) for part in parsed_lines(data[start:end]))
