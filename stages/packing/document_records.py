"""The records of measured documents, as phase `measure` writes and phase `write` reads them.

    documents.bin       a record for each document: number of tokens, number of pictures, sample id; the position and
                        grid of each picture; int32 token ids; a byte for each token, 1 where it is supervised; a
                        digest. A record with frames is marked by a bit in the number of pictures. It has the
                        presentation time of each frame too, and each image as one token, repeated when it is read: a
                        clip of 128 frames and 30,000 tokens takes some 20 KiB instead of 160
    documents.parquet   a row for each drawing of each document: its sample, its place in the draw, its length, its
                        visible pairs of a query and a key, and where its record lies

A record is one range read, because the documents of a row come from any part and any position in it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from neo_model.inputs.conversation import EncodedDocument
from stages.formats.fit_sample import PATCHES_PER_TOKEN
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
_HAS_FRAMES = 1 << 31
"""Bit in the number of pictures of a record with frames."""
_FRAME = struct.Struct("<?qI")
"""What follows each picture in a record with frames: whether it is a frame, the presentation time of a frame in packets
or `_NO_PTS`, and the number of the token that stands for it."""
_NO_PTS = -(1 << 63)
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

    token_ids, supervised = np.array(encoded.token_ids, "<i4"), np.array(encoded.supervised, "|b1")
    starts = np.array(encoded.image_starts, np.int64)
    has_frames = any(image.is_frame for image in images)
    if has_frames:
        num_more = _tokens_of(grids) - 1
        is_first = np.ones(len(token_ids), np.bool_)
        for start, num in zip(starts.tolist(), num_more.tolist(), strict=True):
            is_first[start + 1 : start + 1 + num] = False
        token_ids, supervised = token_ids[is_first], supervised[is_first]
        starts -= np.cumsum(num_more) - num_more
    record = bytearray(_HEAD.pack(len(token_ids), len(images) | _HAS_FRAMES * has_frames, sample_id))
    for number, (image, grid) in enumerate(zip(images, grids, strict=True)):
        part = image.part.encode()
        record += _PICTURE.pack(image.sample_id, image.sha256, image.offset, image.size_bytes, *grid, len(part))
        record += part
        if has_frames:
            record += _FRAME.pack(image.is_frame, _NO_PTS if image.pts is None else image.pts, starts[number])
    record += token_ids.tobytes() + supervised.tobytes()
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
    has_frames = bool(num_pictures & _HAS_FRAMES)
    images, grids, image_starts = [], [], []
    for _ in range(num_pictures & ~_HAS_FRAMES):
        image_id, sha256, offset, size_bytes, grid_h, grid_w, name_bytes = _PICTURE.unpack_from(record, start)
        start += _PICTURE.size + name_bytes
        image = StoredImage(image_id, sha256, offset, size_bytes, record[start - name_bytes : start].decode())
        if has_frames:
            is_frame, pts, image_start = _FRAME.unpack_from(record, start)
            start += _FRAME.size
            image = image._replace(is_frame=is_frame, pts=None if pts == _NO_PTS else pts)
            image_starts.append(image_start)
        images.append(image)
        grids.append((grid_h, grid_w))
    token_ids = np.frombuffer(record, "<i4", num_tokens, start)
    supervised = np.frombuffer(record, "|b1", num_tokens, start + 4 * num_tokens)
    if has_frames:
        times = np.ones(num_tokens, np.int64)
        times[image_starts] = _tokens_of(grids)
        token_ids, supervised = np.repeat(token_ids, times), np.repeat(supervised, times)
    return MeasuredDocument(sample_id, token_ids, supervised, images, grids)


def _tokens_of(grids: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """Tokens of each image, by its grid."""
    import numpy as np

    return np.array([grid_h * grid_w // PATCHES_PER_TOKEN for grid_h, grid_w in grids], np.int64)


def documents_table(rows: list[dict[str, Any]]) -> pa.Table:
    """The table `documents.parquet`: a row for each drawing of each document."""
    import pyarrow as pa

    kinds = [
        ("sample_id", sample_id_type()),
        ("place", pa.int64()),
        ("repetition", pa.int32()),
        ("piece", pa.int32()),
        ("num_tokens", pa.int32()),
        ("cost", pa.int64()),
        ("offset", pa.int64()),
        ("size_bytes", pa.int32()),
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(kinds))
