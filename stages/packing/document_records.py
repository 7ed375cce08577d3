"""The records of measured documents, as phase `measure` writes and phase `write` reads them.

    documents.bin       a record for each document: number of tokens, number of pictures, sample id; the position and
                        grid of each picture; int32 token ids; a byte for each token, 1 where it is supervised; a digest
    documents.parquet   a row for each drawing of each document: its sample, its place in the draw, its length, and
                        where its record lies

A record is one range read, because the documents of a row come from any part and any position in it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from neo_model.inputs.conversation import EncodedDocument
from stages.formats.pairs import StoredImage
from stages.formats.sample_table import sample_id_type

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


_HEAD = struct.Struct("<II16s")
"""Head of a record: number of tokens, number of pictures, sample id."""
_PICTURE = struct.Struct("<16s32sQIHHB")
"""One picture: sample id, sha256, offset and size of its `StoredImage`, its grid (height, width), and the length of the
name of its part. The name follows."""
_DIGEST = struct.Struct("<Q")
"""End of a record: xxh3 of all bytes before it, 64 bits."""


class MeasuredDocument(NamedTuple):
    """One tokenised document of L tokens with P pictures."""

    sample_id: bytes
    """Sample id, 16 bytes."""
    token_ids: NDArray[np.int32]
    """[L] token ids."""
    supervised: NDArray[np.bool_]
    """[L] whether the loss asks for the token."""
    images: list[StoredImage]
    """[P] where each encoded picture lies."""
    grids: list[tuple[int, int]]
    """[P] (height, width) that each picture is resized to, in patches of 16 px."""


def to_record(
    sample_id: bytes, encoded: EncodedDocument, images: Sequence[StoredImage], grids: Sequence[tuple[int, int]]
) -> bytes:
    """The record of a document with P pictures: `images` [P] and their `grids` [P], in patches of 16 px."""
    import numpy as np
    import xxhash

    record = bytearray(_HEAD.pack(len(encoded.token_ids), len(images), sample_id))
    for image, grid in zip(images, grids, strict=True):
        part = image.part.encode()
        record += _PICTURE.pack(image.sample_id, image.sha256, image.offset, image.size_bytes, *grid, len(part))
        record += part
    record += np.array(encoded.token_ids, "<i4").tobytes() + np.array(encoded.supervised, "|b1").tobytes()
    return bytes(record + _DIGEST.pack(xxhash.xxh3_64_intdigest(record)))


def from_record(record: bytes) -> MeasuredDocument:
    """The document in a record, its arrays as views of it. Raises `ValueError` where the digest differs."""
    import numpy as np
    import xxhash

    end = len(record) - _DIGEST.size
    if end < _HEAD.size or _DIGEST.unpack_from(record, end)[0] != xxhash.xxh3_64_intdigest(memoryview(record)[:end]):
        raise ValueError(f"{len(record)} bytes are not the record of a document that was written")
    num_tokens, num_pictures, sample_id = _HEAD.unpack_from(record)
    start = _HEAD.size
    images, grids = [], []
    for _ in range(num_pictures):
        image_id, sha256, offset, size_bytes, grid_h, grid_w, name_bytes = _PICTURE.unpack_from(record, start)
        start += _PICTURE.size + name_bytes
        part = record[start - name_bytes : start].decode()
        images.append(StoredImage(image_id, sha256, offset, size_bytes, part))
        grids.append((grid_h, grid_w))
    return MeasuredDocument(
        sample_id,
        np.frombuffer(record, "<i4", num_tokens, start),
        np.frombuffer(record, "|b1", num_tokens, start + 4 * num_tokens),
        images,
        grids,
    )


def documents_table(rows: list[dict[str, Any]]) -> pa.Table:
    """The table `documents.parquet`: a row for each drawing of each document."""
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
