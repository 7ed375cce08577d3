"""The orientation in EXIF, which is the only thing that is read of EXIF.

Orientation in XMP is none: browsers and cameras ignore it. Broken EXIF is common on the web, and never costs a picture.
Layout: TIFF 6.0, section 2; tag 0x0112 of the first directory, one SHORT.
"""

from __future__ import annotations

import struct
from typing import Final, Literal

from neo_model.inputs.containers.container import Data

ORIENTATION: Final = 0x0112
_PREFIX: Final = b"Exif\0"
_SHORT: Final = 3
_BYTE_ORDERS: Final[dict[bytes, Literal["little", "big"]]] = {b"II*\0": "little", b"MM\0*": "big"}


def orientation_of(exif: Data) -> int:
    """Orientation 1 to 8 of an EXIF block, with or without `Exif\\0\\0` before it; 1 where it has none or is broken."""
    block = bytes(exif)
    if block.startswith(_PREFIX):
        block = block[len(_PREFIX) + 1 :]
    byte_order = _BYTE_ORDERS.get(block[:4])
    if byte_order is None:
        return 1
    sign = "<" if byte_order == "little" else ">"
    try:
        (start,) = struct.unpack_from(f"{sign}I", block, 4)
        (num_entries,) = struct.unpack_from(f"{sign}H", block, start)
        for number in range(num_entries):
            tag, kind, count, value = struct.unpack_from(f"{sign}HHIH", block, start + 2 + 12 * number)
            if tag == ORIENTATION:
                return value if kind == _SHORT and count == 1 and value in range(1, 9) else 1
    except struct.error:
        return 1
    return 1
