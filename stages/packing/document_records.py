"""Measured documents, between measuring and writing: their tokens, and where their pictures lie.

    documents.bin       one record for each document: how many tokens and pictures it has, its sample, for each picture
                        where it lies and its grid, int32 token ids, a byte for each token that says whether the loss
                        asks for it, and a digest of all that
    documents.parquet   a row for each document as often as it was drawn: its sample, its place in the draw, its length,
                        and where its record lies

A record is one range read, because rows take their documents from everywhere.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from neo_model.inputs.conversation import EncodedDocument
from stages.formats.pairs import Pair
from stages.formats.sample_table import sample_id_type

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


_HEAD = struct.Struct("<II16s")
"""Tokens, pictures, sample id."""
_PICTURE = struct.Struct("<16s32sQIHHB")
"""The fields of a `PlacedPicture` but the name of the part, whose length comes last and which follows."""
_DIGEST = struct.Struct("<Q")


class PlacedPicture(NamedTuple):
    """Where an encoded picture lies, and the size it is to have. Its fields are named as those of a `Pair`."""

    sample_id: bytes
    sha256: bytes
    image_offset: int
    image_size_bytes: int
    grid: tuple[int, int]
    """(height, width) in patches of 16 px."""
    part: str

    @classmethod
    def of(cls, pair: Pair, grid: tuple[int, int]) -> PlacedPicture:
        return cls(pair.sample_id, pair.sha256, pair.image_offset, pair.image_size_bytes, grid, pair.part)


class Document(NamedTuple):
    """One document of L tokens, ready to be put into a row."""

    sample_id: bytes
    token_ids: NDArray[np.int32]
    """[L]"""
    supervised: NDArray[np.bool_]
    """[L]"""
    pictures: list[PlacedPicture]


def to_record(sample_id: bytes, encoded: EncodedDocument, pictures: Sequence[PlacedPicture]) -> bytes:
    """The record of a document."""
    import numpy as np
    import xxhash

    record = bytearray(_HEAD.pack(len(encoded.token_ids), len(pictures), sample_id))
    for one in pictures:
        name = one.part.encode()
        record += _PICTURE.pack(one.sample_id, one.sha256, one.image_offset, one.image_size_bytes, *one.grid, len(name))
        record += name
    record += np.array(encoded.token_ids, "<i4").tobytes() + np.array(encoded.supervised, "|b1").tobytes()
    return bytes(record + _DIGEST.pack(xxhash.xxh3_64_intdigest(record)))


def from_record(record: bytes) -> Document:
    """The document in a record. Raises `ValueError` where the record is not as it was written."""
    import numpy as np
    import xxhash

    end = len(record) - _DIGEST.size
    if end < _HEAD.size or _DIGEST.unpack_from(record, end)[0] != xxhash.xxh3_64_intdigest(memoryview(record)[:end]):
        raise ValueError(f"{len(record)} bytes are not the record of a document that was written")
    num_tokens, num_pictures, sample_id = _HEAD.unpack_from(record)
    start = _HEAD.size
    pictures = []
    for _ in range(num_pictures):
        picture_id, sha256, offset, size_bytes, grid_h, grid_w, name_bytes = _PICTURE.unpack_from(record, start)
        start += _PICTURE.size + name_bytes
        part = record[start - name_bytes : start].decode()
        pictures.append(PlacedPicture(picture_id, sha256, offset, size_bytes, (grid_h, grid_w), part))
    return Document(
        sample_id,
        np.frombuffer(record, "<i4", num_tokens, start),
        np.frombuffer(record, "|b1", num_tokens, start + 4 * num_tokens),
        pictures,
    )


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
