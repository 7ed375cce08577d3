"""Encodes one packed row as the members of a WebDataset sample, and parses it.

    {row}.00000.jpg ...      the encoded pictures, in the order of their places in the tokens, as they were downloaded
    {row}.json               the documents (sample id, source, repetition, piece, tokens, pictures) and picture grids
    {row}.mask.npy           bool [L], whether the loss asks for the token
    {row}.tokens.npy         int32 [L], token ids of all documents end to end

`{row}` is the number of the row, nine digits. A reader accepts nothing else, above all no pickles.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from struct import Struct
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from stages.formats.tar import BLOCK_BYTES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROW_KEY_DIGITS = 9
"""Digits of the number of a row in the names of its members."""
MAX_PICTURES = 99_999
"""Pictures in one row: what five digits can number."""
PICTURE_ENDINGS = ("jpg", "png", "webp", "gif", "bmp", "tiff", "bin")
"""Endings of pictures; `bin` is a picture of no known format."""
TOKENS, SUPERVISED, FACTS = "tokens.npy", "mask.npy", "json"
"""Endings of the members of a row but for its pictures."""
ARRAYS = {TOKENS: "<i4", SUPERVISED: "|b1"}
"""The arrays of a row, and their types as numpy spells them."""
MAGIC = {b"\xff\xd8\xff": "jpg", b"\x89PNG": "png", b"GIF8": "gif", b"BM": "bmp", b"II*\0": "tiff", b"MM\0*": "tiff"}
"""First bytes of a picture to the ending of its format."""

NAME_BYTES = 100
"""Length of the field of a tar header that holds the name."""
HEADER = Struct(f"{ROW_KEY_DIGITS}s {NAME_BYTES - ROW_KEY_DIGITS}s 24x 11s 21x c {BLOCK_BYTES - 157}x")
"""The fields read from a tar header: key, rest of the name (padded with zeros), size in octal digits, type.

Offsets: 0 name (100 bytes), 124 size (11 digits), 156 type (`0` is a file), of 512 bytes."""
_PADDED_PICTURE_ENDINGS = frozenset(
    name.encode().ljust(NAME_BYTES - ROW_KEY_DIGITS - 7, b"\0") for name in PICTURE_ENDINGS
)
_PADDED_NAMES = {f".{name}".encode().ljust(NAME_BYTES - ROW_KEY_DIGITS, b"\0"): name for name in (FACTS, *ARRAYS)}


class RowLayoutError(ValueError):
    """Bytes that are not the members of one row; the message names the member."""


@dataclass(kw_only=True)
class Row:
    """One packed sequence of L tokens from D documents with P pictures. Not frozen, which would double its cost."""

    number: int
    """Number of the row."""
    token_ids: NDArray[np.int32]
    """[L], a picture being `<img>`, one `<IMG_CONTEXT>` for each of its tokens, `</img>`."""
    supervised: NDArray[np.bool_]
    """[L], whether the loss asks for this token, given all before it in its document."""
    document_offsets: NDArray[np.int32]
    """[D + 1], where each document begins, and L."""
    image_grids: NDArray[np.int32]
    """[P, 2], (height, width) that each picture is resized to, in patches of 16 px."""
    images: list[memoryview]
    """The encoded pictures: views of the bytes that were read, which live as long as one of them does."""
    sample_ids: list[bytes]
    """[D] sample id of each document."""
    sources: list[str]
    """[D] source of each document."""


@dataclass(frozen=True, kw_only=True)
class DocumentFacts:
    """What a row records of one of its documents."""

    sample_id: bytes
    """Sample id, 16 bytes."""
    source: str
    """Name of its source in the mixture."""
    repetition: int
    """How often this sample was drawn before."""
    piece: int
    """Number of the piece, of a text that was cut; 0 where it was not."""
    num_tokens: int
    """Tokens of the document."""
    num_pictures: int
    """Pictures of the document."""


def row_key(number: int) -> str:
    """The key of a row's sample in its tar."""
    return f"{number:0{ROW_KEY_DIGITS}d}"


def row_members(
    token_ids: NDArray[np.int32],
    supervised: NDArray[np.bool_],
    documents: Sequence[DocumentFacts],
    grids: Sequence[tuple[int, int]],
    images: Sequence[bytes],
) -> dict[str, bytes]:
    """The members of a row by their endings: the bytes that `parse_row` reads."""
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
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise RowLayoutError(f"row {number} does not parse: {error}") from error


def _parsed(number: int, data: bytes) -> Row:
    import numpy as np

    images, places = _members(number, data)
    facts = from_json(data[places[FACTS]])
    documents, grids = facts["documents"], facts["image_grids"]
    offsets = list(accumulate([document["num_tokens"] for document in documents], initial=0))
    num_pictures = sum([document["num_pictures"] for document in documents])
    if not num_pictures == len(images) == len(grids):
        raise RowLayoutError(
            f"row {number} lists {num_pictures} pictures and holds {len(images)}, with sizes of {len(grids)}"
        )
    return Row(
        number=number,
        token_ids=_array(data, places[TOKENS], ARRAYS[TOKENS], offsets[-1]),
        supervised=_array(data, places[SUPERVISED], ARRAYS[SUPERVISED], offsets[-1]),
        document_offsets=np.array(offsets, np.int32),
        image_grids=np.array(grids, np.int32).reshape(num_pictures, 2),
        images=images,
        sample_ids=[bytes.fromhex(document["sample_id"]) for document in documents],
        sources=[document["source"] for document in documents],
    )


def _members(number: int, data: bytes) -> tuple[list[memoryview], dict[str, slice]]:
    """The pictures in a piece of a tar, and where its other members lie, by ending.

    Pictures must be numbered from 0 without a gap. Row 7 with one picture is the members `000000007.00000.jpg`,
    `000000007.json`, `000000007.mask.npy` and `000000007.tokens.npy`, each a header of 512 bytes and padded contents.
    """
    key, view = b"%0*d" % (ROW_KEY_DIGITS, number), memoryview(data)
    pictures: list[memoryview] = []
    places: dict[str, slice] = {}
    start, end = 0, len(data) - BLOCK_BYTES
    while start <= end:
        row_key_bytes, name, size, kind = HEADER.unpack_from(data, start)
        if row_key_bytes != key or kind != b"0" or not size.isdigit():
            raise _foreign(number, data, start)
        first = start + BLOCK_BYTES
        stop = first + int(size, 8)
        if name[7:] in _PADDED_PICTURE_ENDINGS and name[:7] == b".%05d." % len(pictures):
            pictures.append(view[first:stop])
        elif name in _PADDED_NAMES and _PADDED_NAMES[name] not in places:
            places[_PADDED_NAMES[name]] = slice(first, stop)
        else:
            raise _foreign(number, data, start)
        start = stop + -stop % BLOCK_BYTES
    if start != len(data):
        raise RowLayoutError(f"row {number} is cut: {len(data)} bytes are here, its members need {start} or more")
    return pictures, places


def _foreign(number: int, data: bytes, start: int) -> RowLayoutError:
    name = data[start : start + NAME_BYTES].rstrip(b"\0").decode("ascii", "replace")
    return RowLayoutError(f"{name!r} at byte {start} is no member of row {row_key(number)}, or comes twice")


def _npy(array: NDArray[Any]) -> bytes:
    return _npy_head(array.dtype.str, len(array)) + array.tobytes()


def _array(data: bytes, place: slice, kind: str, length: int) -> NDArray[Any]:
    """The array of type `kind` and this length, as a read-only view.

    The header must be the one that `_npy_head` writes: no other is parsed.
    """
    import numpy as np

    head, dtype = _npy_head(kind, length), np.dtype(kind)
    first = place.start + len(head)
    if not data.startswith(head, place.start) or place.stop != first + length * dtype.itemsize:
        raise RowLayoutError(
            f"{place.stop - place.start} bytes that begin {data[place][:80]!r} are no array {kind} of {length}"
        )
    return np.frombuffer(data, dtype, length, first)


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
