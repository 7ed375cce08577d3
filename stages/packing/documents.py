"""Measured documents, between measuring and writing: their tokens, and where their pictures lie.

    documents.bin       one record for each document: a line of JSON (sample, pictures), int32 token ids, a byte for
                        each token that says whether the loss asks for it
    documents.parquet   a row for each document as often as it was drawn: its sample, its place in the draw, its length,
                        and where its record lies

A record is one range read, because rows take their documents from everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neo_model.conversation import EncodedDocument
from stages.artifact import FileEntry, PartRecord, mended_by
from stages.pairs import Pair
from stages.store import Store, StoreError
from stages.tables import sample_id_type

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

RECORDS_FILE = "documents.bin"
DOCUMENTS_FILE = "documents.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedPicture:
    """Where an encoded picture lies, and the size it is to have. Its fields are named as those of a `Pair`."""

    sample_id: bytes
    part: str
    image_offset: int
    image_size_bytes: int
    sha256: bytes
    grid: tuple[int, int]
    """(height, width) in patches of 16 px."""

    @classmethod
    def of(cls, pair: Pair, grid: tuple[int, int]) -> PlacedPicture:
        return cls(
            sample_id=pair.sample_id,
            part=pair.part,
            image_offset=pair.image_offset,
            image_size_bytes=pair.image_size_bytes,
            sha256=pair.sha256,
            grid=grid,
        )


@dataclass(frozen=True, kw_only=True)
class Document:
    """One document of L tokens, ready to be put into a row."""

    sample_id: bytes
    source: str
    token_ids: NDArray[np.int32]
    """[L]"""
    supervised: NDArray[np.bool_]
    """[L]"""
    pictures: tuple[PlacedPicture, ...]


def to_record(sample_id: bytes, source: str, encoded: EncodedDocument, pictures: Iterable[PlacedPicture]) -> bytes:
    """The record of a document."""
    import numpy as np

    facts = {
        "sample_id": sample_id.hex(),
        "source": source,
        "num_tokens": len(encoded.token_ids),
        "pictures": [
            [one.sample_id.hex(), one.part, one.image_offset, one.image_size_bytes, one.sha256.hex(), *one.grid]
            for one in pictures
        ],
    }
    head = json.dumps(facts, separators=(",", ":")).encode() + b"\n"
    return head + np.array(encoded.token_ids, "<i4").tobytes() + np.array(encoded.supervised, "|b1").tobytes()


def from_record(record: bytes) -> Document:
    """The document in a record."""
    import numpy as np

    head, _, body = record.partition(b"\n")
    facts = json.loads(head)
    num_tokens = facts["num_tokens"]
    return Document(
        sample_id=bytes.fromhex(facts["sample_id"]),
        source=facts["source"],
        token_ids=np.frombuffer(body, "<i4", num_tokens),
        supervised=np.frombuffer(body, "|b1", num_tokens, 4 * num_tokens),
        pictures=tuple(_placed(*picture) for picture in facts["pictures"]),
    )


def read_file(store: Store, record: PartRecord, name: str) -> bytes:
    """A file that an earlier phase made. Raises `StoreError` where it is not what was recorded."""
    return read_entry(store, record.file(name))


def read_entry(store: Store, entry: FileEntry) -> bytes:
    """The same, by its entry in the record."""
    data = store.read(entry.key)
    if data is None or len(data) != entry.size_bytes:
        found = "missing" if data is None else f"{len(data)} bytes"
        raise damaged(entry.key, f"is {found}, {entry.size_bytes} bytes were recorded")
    return data


def damaged(key: str, said: str) -> StoreError:
    """What to raise where a file that an earlier phase made is not as it was recorded."""
    _, stage, fingerprint, *_ = key.split("/")
    return StoreError(f"{key} {said}; {mended_by(f'{stage}/{fingerprint}')}")


def documents_table(rows: list[dict[str, Any]]) -> pa.Table:
    """The table of measured documents."""
    import pyarrow as pa

    kinds = [
        ("sample_id", sample_id_type()),
        ("place", pa.int64()),
        ("repetition", pa.int32()),
        ("piece", pa.int32()),
        ("num_tokens", pa.int32()),
        ("offset", pa.int64()),
        ("size_bytes", pa.int32()),
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(kinds))


def _placed(*fields: Any) -> PlacedPicture:
    sample_id, part, offset, size_bytes, sha256, grid_h, grid_w = fields
    return PlacedPicture(
        sample_id=bytes.fromhex(sample_id),
        part=part,
        image_offset=offset,
        image_size_bytes=size_bytes,
        sha256=bytes.fromhex(sha256),
        grid=(grid_h, grid_w),
    )
