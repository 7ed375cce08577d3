"""One packed row as bytes: the members of its WebDataset sample, and back.

    {row}.00000.jpg ...      the encoded pictures, in the order of their places in the tokens, as they were downloaded
    {row}.json               the documents (sample id, source, repetition, piece, tokens, pictures) and picture grids
    {row}.mask.npy           bool [L], whether the loss asks for the token
    {row}.tokens.npy         int32 [L], token ids of all documents end to end

`{row}` is the number of the row, nine digits. Nothing else is accepted when a row is read, and no pickle ever.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from stages.tar_writer import BLOCK_BYTES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KEY_DIGITS = 9
MAX_PICTURES = 99_999
"""Pictures in one row: what five digits can number."""
PICTURE_MEMBER = re.compile(r"[0-9]{5}\.(jpg|png|webp|gif|bmp|tiff|bin)")
TOKENS, SUPERVISED, FACTS = "tokens.npy", "mask.npy", "json"
ARRAYS = {TOKENS: "<i4", SUPERVISED: "|b1"}
"""The arrays of a row and numpy's name of what they hold."""
MAGIC = {b"\xff\xd8\xff": "jpg", b"\x89PNG": "png", b"GIF8": "gif", b"BM": "bmp", b"II*\0": "tiff", b"MM\0*": "tiff"}


class RowLayoutError(ValueError):
    """Bytes that are not the members of one row; the message names the member."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One packed sequence of L tokens from D documents with P pictures."""

    number: int
    token_ids: NDArray[np.int32]
    """[L], a picture being `<img>`, one `<IMG_CONTEXT>` for each of its tokens, `</img>`."""
    supervised: NDArray[np.bool_]
    """[L], whether the loss asks for this token, given all before it in its document."""
    document_offsets: NDArray[np.int32]
    """[D + 1], where each document begins, and L."""
    image_grids: NDArray[np.int32]
    """[P, 2], (height, width) that each picture is resized to, in patches of 16 px."""
    images: list[bytes]
    """The encoded pictures."""
    sample_ids: list[bytes]
    """Of each document."""
    sources: list[str]
    """Of each document."""


@dataclass(frozen=True, kw_only=True)
class DocumentFacts:
    """What a row says of one of its documents."""

    sample_id: bytes
    source: str
    repetition: int
    """How often this sample was drawn before."""
    piece: int
    """Which piece of a text that was too long for a row; 0 for what is whole."""
    num_tokens: int
    num_pictures: int


def row_key(number: int) -> str:
    """The key of a row's sample in its tar."""
    return f"{number:0{KEY_DIGITS}d}"


def row_members(
    token_ids: NDArray[np.int32],
    supervised: NDArray[np.bool_],
    documents: Sequence[DocumentFacts],
    grids: Sequence[tuple[int, int]],
    images: Sequence[bytes],
) -> dict[str, bytes]:
    """The members of a row by their endings."""
    facts = {
        "documents": [{**vars(document), "sample_id": document.sample_id.hex()} for document in documents],
        "image_grids": [list(grid) for grid in grids],
    }
    members = {f"{number:05d}.{_ending(image)}": image for number, image in enumerate(images)}
    members[FACTS] = json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
    members[SUPERVISED], members[TOKENS] = _npy(supervised), _npy(token_ids)
    return members


def parse_row(number: int, data: bytes) -> Row:
    """The row in this piece of a tar. Raises `RowLayoutError` where it is not exactly the members of that row."""
    try:
        return _parsed(number, data)
    except RowLayoutError:
        raise
    except KeyError as missing:
        raise RowLayoutError(f"row {number} has no member {missing}") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise RowLayoutError(f"row {number} does not parse: {error}") from error


def _parsed(number: int, data: bytes) -> Row:
    import numpy as np

    members: dict[str, bytes] = {}
    for ending, member in _members(row_key(number), data):
        if ending in members:
            raise RowLayoutError(f"row {number} has two members {ending!r}")
        members[ending] = member
    facts = json.loads(members.pop(FACTS))
    offsets = list(accumulate((document["num_tokens"] for document in facts["documents"]), initial=0))
    token_ids, supervised = (_array(members.pop(name), kind, offsets[-1]) for name, kind in ARRAYS.items())
    num_pictures = sum(document["num_pictures"] for document in facts["documents"])
    if not num_pictures == len(members) == len(facts["image_grids"]):
        raise RowLayoutError(
            f"row {number} says {num_pictures} pictures, holds {len(members)} and sizes of {len(facts['image_grids'])}"
        )
    return Row(
        number=number,
        token_ids=token_ids,
        supervised=supervised,
        document_offsets=np.array(offsets, np.int32),
        image_grids=np.array(facts["image_grids"], np.int32).reshape(-1, 2),
        images=list(members.values()),
        sample_ids=[bytes.fromhex(document["sample_id"]) for document in facts["documents"]],
        sources=[document["source"] for document in facts["documents"]],
    )


def _members(key: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Ending and bytes of each member of a piece of a tar, in order."""
    start = 0
    while start < len(data):
        header = data[start : start + BLOCK_BYTES]
        name = header[:100].rstrip(b"\0").decode("ascii", "replace")
        found, _, ending = name.partition(".")
        wanted = ending in ARRAYS or ending == FACTS or PICTURE_MEMBER.fullmatch(ending)
        if found != key or not wanted or header[156:157] != b"0":
            raise RowLayoutError(f"{name!r} at byte {start} is no member of row {key}")
        size_bytes = int(header[124:135], 8)
        start += BLOCK_BYTES
        yield ending, data[start : start + size_bytes]
        start += size_bytes + -size_bytes % BLOCK_BYTES
    if start != len(data):
        raise RowLayoutError(f"row {key} ends {start - len(data)} bytes too early")


def _npy(array: NDArray[Any]) -> bytes:
    return _npy_head(array.dtype.str, len(array)) + array.tobytes()


def _array(data: bytes, kind: str, length: int) -> NDArray[Any]:
    """The one array that may be here: anything but its exact header is refused, so that nothing is interpreted."""
    import numpy as np

    head, dtype = _npy_head(kind, length), np.dtype(kind)
    if not data.startswith(head) or len(data) != len(head) + length * dtype.itemsize:
        raise RowLayoutError(f"{len(data)} bytes that begin {data[:80]!r} are no array {kind} of {length}")
    return np.frombuffer(data, dtype, length, len(head)).copy()


@lru_cache(maxsize=4096)
def _npy_head(kind: str, length: int) -> bytes:
    """The header of an array of one dimension in numpy's format 1.0, padded to 64 bytes as numpy does."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({length},), }}"
    padded = text + " " * (-(10 + len(text) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\0" + len(padded).to_bytes(2, "little") + padded.encode()


def _ending(image: bytes) -> str:
    """The usual ending of a picture's format, by its first bytes."""
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "webp"
    return next((ending for magic, ending in MAGIC.items() if image.startswith(magic)), "bin")
