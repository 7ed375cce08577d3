"""What the store holds of indexes, outside every artifact, and how it is found again.

    indexes/<stage>/<12 digits>/<16 digits of the manifest's sha256>-<layout>/
        parts.parquet              the parts whose tables are indexed: name, key and size of the table, rows
        <subject>/<piece>.bin      sorted entries (`entries.py`)
        <subject>.json             the head: what the pieces hold, with their digests; created exclusively, last
        runs/<subject>/<n>.run     what groups of parts hold, while an index is made

Indexes are derived: they change no fingerprint, decide nothing, and may be deleted and made again at any time. Those
of another manifest or in another layout lie elsewhere, so none is ever out of date.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

from pipelines.indexes.entries import IndexLayout
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import ManifestHead
from stages.store.record_kind import RecordKind

LAYOUT_VERSION: Final = 2
"""Number of the layout of indexes. It is in the name of their folder, so those of another are made beside them."""
DIGITS: Final = 16
"""Digits of the manifest's sha256 in the folder of an index."""


class IndexRecord(BaseModel):
    """A record of indexes; fields of a later version are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class PieceFile(IndexRecord):
    """One piece of an index."""

    size_bytes: int
    """Length of the file, in bytes."""
    num_entries: int
    """Entries that it holds."""
    sha256: str
    """Digest of the file, 64 hex digits."""


class IndexHead(IndexRecord):
    """What an index holds, and how it is cut."""

    layout_version: int
    """Number of the layout."""
    subject: str
    """What is indexed, such as `names`."""
    content: str
    """Content digest of the artifact, 64 hex digits."""
    manifest_sha256: str
    """sha256 of its manifest, 64 hex digits."""
    piece_bits: int
    """Leading bits of a digest that say in which piece it is."""
    slot_bits: int
    """Leading bits of a digest that say in which slot it is."""
    part_bytes: int
    """Bytes of the number of a part in an entry."""
    parts_sha256: str
    """Digest of `parts.parquet`, 64 hex digits."""
    pieces: tuple[PieceFile, ...]
    """The pieces, by their number."""

    @property
    def layout(self) -> IndexLayout:
        """How the index is cut."""
        return IndexLayout(self.piece_bits, self.slot_bits, self.part_bytes)

    @property
    def num_entries(self) -> int:
        """Entries of all pieces."""
        return sum(piece.num_entries for piece in self.pieces)

    @property
    def size_bytes(self) -> int:
        """Bytes of all pieces."""
        return sum(piece.size_bytes for piece in self.pieces)


INDEX_HEAD = RecordKind[IndexHead](
    IndexHead, "the head of an index, which is derived", "delete it, and `neo index REF` makes the index again"
)


def folder_of(head: ManifestHead) -> str:
    """Where the indexes of an artifact lie."""
    return f"indexes/{head.stage}/{head.fingerprint[:SHOWN_DIGITS]}/{head.manifest_sha256[:DIGITS]}-{LAYOUT_VERSION}"


def head_key(folder: str, subject: str) -> str:
    """Where the head of an index lies."""
    return f"{folder}/{subject}.json"


def piece_key(folder: str, subject: str, piece: int) -> str:
    """Where a piece of an index lies."""
    return f"{folder}/{subject}/{piece:05d}.bin"


def parts_key(folder: str) -> str:
    """Where the list of indexed parts lies."""
    return f"{folder}/parts.parquet"


def run_key(folder: str, subject: str, group: int) -> str:
    """Where a run lies: what a group of parts holds, sorted."""
    return f"{runs_prefix(folder, subject)}{group:05d}.run"


def runs_prefix(folder: str, subject: str) -> str:
    """Where all runs of an index lie."""
    return f"{folder}/runs/{subject}/"
