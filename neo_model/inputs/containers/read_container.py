"""Takes a picture's file apart, whatever its format: the one place from which size, orientation and frames follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from neo_model.inputs.containers.container import Container, Data, TooManyPiecesError
from neo_model.inputs.containers.gif import num_gif_frames, read_gif
from neo_model.inputs.containers.jpeg import read_jpeg
from neo_model.inputs.containers.png import num_png_frames, read_png
from neo_model.inputs.containers.tiff import num_tiff_pages, read_tiff
from neo_model.inputs.containers.webp import num_webp_frames, read_webp
from neo_model.inputs.signatures import format_of

_BMP_HEAD_BYTES: Final = 26
"""Smallest header of a BMP: that of the file and the oldest one of the picture."""


def read_container(data: Data) -> Container | None:
    """Take a picture apart; None where its first bytes are of none of the formats that are decoded."""
    name = format_of(data)
    if name is None:
        return None
    try:
        return _READERS[name](memoryview(data))  # slices of which copy nothing
    except TooManyPiecesError:
        return Container(format=name, pixels=b"")


def num_frames(data: Data) -> int:
    """Frames of an animation or pages of a TIFF that are whole; 1 for a still picture, however many its file holds.

    A JPEG is one picture: what cameras append to it (MPF) are previews and second views.
    """
    count = _FRAMES.get(format_of(data) or "")
    return 1 if count is None else count(data)


def _read_bmp(data: Data) -> Container:
    first_pixel = int.from_bytes(data[10:14], "little")
    return Container(format="BMP", pixels=data, is_cut=len(data) < max(_BMP_HEAD_BYTES, first_pixel))


_READERS: Final[dict[str, Callable[[Data], Container]]] = {
    "JPEG": read_jpeg, "PNG": read_png, "WEBP": read_webp, "GIF": read_gif, "BMP": _read_bmp, "TIFF": read_tiff,
}  # fmt: skip
_FRAMES: Final[dict[str, Callable[[Data], int]]] = {
    "PNG": num_png_frames, "WEBP": num_webp_frames, "GIF": num_gif_frames, "TIFF": num_tiff_pages,
}  # fmt: skip
