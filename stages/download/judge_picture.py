"""Decides what is kept of the bytes that a server sent as a picture: the same bytes, a re-encoded JPEG, or nothing.

An ordinary JPEG keeps its bytes. Any other picture is decoded once, to 8-bit RGB and upright, and re-encoded as JPEG,
so that every picture in the system is a JPEG that decodes, with colours in sRGB unless the rule says otherwise. The
format is read from the first bytes, never from a name or a header line; sizes are read before anything is decoded.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Final, Literal

from neo_model.inputs.colours import Colour, changes_colours
from neo_model.inputs.containers.jpeg import num_scans, read_jpeg
from neo_model.inputs.pictures import (
    PictureError,
    PictureTrouble,
    open_picture,
    open_pixels,
    oriented,
    picture_facts,
)
from neo_model.inputs.signatures import known_format
from stages.download.jpeg import MAX_SCANS, MAX_SIDE_PX, plain_jpeg
from stages.download.reasons import Reason, RowError
from stages.download.resizing import ResizeMode, Resizing

JPEG_START: Final = b"\xff\xd8\xff"


@dataclass(frozen=True, kw_only=True)
class PictureRule:
    """Which pictures are accepted, and how they are resized and re-encoded. Part of the recipe, so part of identity."""

    max_pixels_px: int
    """Largest width times height, in pixels."""
    animated: Literal["first_frame", "drop"]
    resize_mode: ResizeMode
    resize_px: int
    """Longest or shortest side after resizing, in pixels, depending on the mode."""
    jpeg_quality: int
    """JPEG quality of pictures that are re-encoded."""
    decode: Literal["exact", "reduced"] = "exact"
    """Whether JPEGs that are resized are decoded in full, or as small as the result allows."""
    colour: Colour = "srgb"
    """`srgb`: a picture whose embedded profile gives it other colours than sRGB is converted and re-encoded. `as_is`:
    profiles are ignored, here and by all readers of the artifact."""


@dataclass(frozen=True, slots=True)
class JudgedPicture:
    """An accepted picture, as it goes into the tar."""

    data: bytes
    """The picture, encoded as JPEG."""
    width_px: int
    """Width after EXIF orientation."""
    height_px: int
    """Height after EXIF orientation."""
    sent_as: str
    """Format and colour mode of what the server sent, such as `JPEG RGB` or `GIF P`."""


class PictureJudge:
    """Judges pictures by one rule."""

    def __init__(self, rule: PictureRule) -> None:
        self._rule = rule
        self._resizing = Resizing(mode=rule.resize_mode, resize_px=rule.resize_px, jpeg_quality=rule.jpeg_quality)

    def __call__(self, data: bytes) -> JudgedPicture:
        """The picture as it is kept. Raises `RowError` with the reason if it is not."""
        plain = self._plain(data)
        if plain is not None and not self._makes_smaller(plain):
            return plain
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow only warns of what is refused here, and of oddities in EXIF
            try:
                return self._resized(plain or self._decoded(data))
            except PictureError as error:
                raise RowError(_reason_of(error.reason, data)) from error

    def _plain(self, data: bytes) -> JudgedPicture | None:
        """The bytes of an ordinary JPEG unchanged, or None where only decoding can tell."""
        jpeg = plain_jpeg(data) if data.startswith(JPEG_START) else None
        if jpeg is None:
            return None
        self._check_size(jpeg.width_px, jpeg.height_px)
        size, mode = (jpeg.width_px, jpeg.height_px), "RGB" if jpeg.num_components == 3 else "L"
        if jpeg.has_exif or jpeg.has_profile:
            container = read_jpeg(memoryview(data))
            if self._converts(container.profile, mode):
                return None
            size = oriented(size, container.orientation)
        return JudgedPicture(data, *size, f"JPEG {mode}")

    def _decoded(self, data: bytes) -> JudgedPicture:
        """Decode. A JPEG in grey or RGB keeps its bytes; any other picture is re-encoded."""
        if data.startswith(JPEG_START) and num_scans(data) > MAX_SCANS:
            raise PictureError(PictureTrouble.UNDECODABLE, f"more than {MAX_SCANS} scans")
        facts = picture_facts(data)
        self._check_size(facts.width_px, facts.height_px)
        if facts.num_frames > 1 and self._rule.animated == "drop":
            raise RowError(Reason.ANIMATED)
        rule = self._rule
        picture = open_picture(data, max_pixels_px=rule.max_pixels_px, colour=rule.colour)
        is_plain = (facts.format, facts.mode) in (("JPEG", "RGB"), ("JPEG", "L"))
        if not is_plain or self._converts(facts.profile, facts.mode):
            written = BytesIO()
            picture.save(written, "JPEG", quality=rule.jpeg_quality, subsampling=0)
            data = written.getvalue()
        return JudgedPicture(data, *picture.size, f"{facts.format} {facts.mode}")

    def _resized(self, picture: JudgedPicture) -> JudgedPicture:
        """The picture made smaller if the rule asks for it, from upright pixels."""
        if not self._makes_smaller(picture):
            return picture
        size, is_exact = (picture.width_px, picture.height_px), self._rule.decode == "exact"
        pixels = open_pixels(
            picture.data,
            max_pixels_px=self._rule.max_pixels_px,
            at_least=None if is_exact else self._resizing.scaled_size(size),
        )
        return JudgedPicture(*self._resizing.to_jpeg(pixels, size), picture.sent_as)

    def _makes_smaller(self, picture: JudgedPicture) -> bool:
        return self._rule.resize_mode != "no" and max(picture.width_px, picture.height_px) > self._rule.resize_px

    def _converts(self, profile: bytes | None, mode: str) -> bool:
        return self._rule.colour == "srgb" and changes_colours(profile, mode)

    def _check_size(self, width_px: int, height_px: int) -> None:
        if width_px * height_px > self._rule.max_pixels_px:
            raise RowError(Reason.TOO_MANY_PIXELS)
        if max(width_px, height_px) > MAX_SIDE_PX:
            raise RowError(Reason.SIDE_TOO_LONG)


def _reason_of(trouble: PictureTrouble, data: bytes) -> Reason:
    if trouble is PictureTrouble.NOT_IMAGE and known_format(data) is not None:
        return Reason.UNSUPPORTED_FORMAT
    return Reason.spelled(trouble.value)
