"""What becomes of the bytes that a server sent as a picture: kept as they are, written anew, or refused.

An ordinary JPEG keeps its bytes. Whatever else is decoded once, to 8-bit RGB and upright, and written as JPEG, so that
every picture in the system is a JPEG that decodes. The first bytes decide what a picture is, never a name or a header
line; sizes are read before anything is decoded.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, Literal, TypeAlias

from neo_model.inputs.pictures import PictureError, PictureTrouble, open_picture, picture_facts
from stages.download.jpeg import MAX_SCANS, plain_jpeg
from stages.download.reasons import Reason, RowError

JPEG_START: Final = b"\xff\xd8\xff"
NEVER_DECODED: Final = (b"%PDF-", b"%!PS", b"8BPS", b"\0\0\1\0", b"<svg", b"\xd7\xcd\xc6\x9a", b"\xff\x0a")
"""How formats begin that are pictures and are not decoded here: PDF, EPS, Photoshop, icons, SVG, WMF, JPEG XL."""
ResizeMode: TypeAlias = Literal["no", "keep_ratio", "keep_ratio_largest", "center_crop", "border"]


@dataclass(frozen=True, kw_only=True)
class PictureRule:
    """What is asked of a picture, and how it is written where it must be."""

    max_pixels_px: int
    animated: Literal["first_frame", "drop"]
    resize_mode: ResizeMode
    resize_px: int
    jpeg_quality: int


@dataclass(frozen=True, slots=True)
class JudgedPicture:
    """A picture that goes into the tar."""

    data: bytes
    width_px: int
    """After EXIF orientation, like `height_px`."""
    height_px: int
    sent_as: str
    """Format and colour mode of what the server sent, such as `JPEG RGB` or `GIF P`."""


class PictureJudge:
    """Judges pictures by one rule. Holds img2dataset's `Resizer` where the rule wants smaller pictures."""

    def __init__(self, rule: PictureRule) -> None:
        self._rule = rule
        self._resizer = None if rule.resize_mode == "no" else _resizer(rule)

    def __call__(self, data: bytes) -> JudgedPicture:
        """The picture as it is to be kept. Raises `RowError`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow only warns of what is refused here, and of oddities in EXIF
            try:
                return self._resized(self._plain(data) or self._decoded(data))
            except PictureError as error:
                raise RowError(_reason_of(error.reason, data)) from error

    def _plain(self, data: bytes) -> JudgedPicture | None:
        """An ordinary JPEG as it is, or None where only decoding can tell."""
        jpeg = plain_jpeg(data) if data.startswith(JPEG_START) else None
        if jpeg is None:
            return None
        self._check_size(jpeg.width_px, jpeg.height_px)
        width_px, height_px = jpeg.width_px, jpeg.height_px
        if jpeg.has_exif:
            facts = picture_facts(data)
            width_px, height_px = facts.width_px, facts.height_px
        return JudgedPicture(data, width_px, height_px, "JPEG RGB" if jpeg.num_components == 3 else "JPEG L")

    def _decoded(self, data: bytes) -> JudgedPicture:
        """Decode, and keep the bytes of what is a JPEG in grey or RGB; write the rest anew."""
        if data.startswith(JPEG_START) and data.count(b"\xff\xda") > MAX_SCANS:
            raise PictureError(PictureTrouble.UNDECODABLE, f"more than {MAX_SCANS} scans")
        facts = picture_facts(data)
        if facts.num_frames > 1 and self._rule.animated == "drop":
            raise RowError(Reason.ANIMATED)
        picture = open_picture(data, max_pixels_px=self._rule.max_pixels_px)
        if (facts.format, facts.mode) not in (("JPEG", "RGB"), ("JPEG", "L")):
            written = BytesIO()
            picture.save(written, "JPEG", quality=self._rule.jpeg_quality, subsampling=0)
            data = written.getvalue()
        return JudgedPicture(data, *picture.size, f"{facts.format} {facts.mode}")

    def _resized(self, held: JudgedPicture) -> JudgedPicture:
        """Made smaller by img2dataset, which looks at no EXIF: what is turned is set upright before."""
        if self._resizer is None or max(held.width_px, held.height_px) <= self._rule.resize_px:
            return held
        upright = BytesIO()
        open_picture(held.data, max_pixels_px=self._rule.max_pixels_px).save(upright, "PNG", compress_level=0)
        data, width_px, height_px, _, _, error = self._resizer(upright)
        if error is not None:
            raise RowError(Reason.UNDECODABLE)
        return JudgedPicture(data, width_px, height_px, held.sent_as)

    def _check_size(self, width_px: int, height_px: int) -> None:
        if width_px * height_px > self._rule.max_pixels_px:
            raise RowError(Reason.TOO_MANY_PIXELS)


def _resizer(rule: PictureRule) -> Any:
    from img2dataset.resizer import Resizer

    return Resizer(
        image_size=rule.resize_px,
        resize_mode=rule.resize_mode,
        resize_only_if_bigger=True,
        encode_quality=rule.jpeg_quality,
        encode_format="jpg",
    )


def _reason_of(trouble: PictureTrouble, data: bytes) -> Reason:
    if trouble is PictureTrouble.NOT_IMAGE and _is_never_decoded(data):
        return Reason.UNSUPPORTED_FORMAT
    return Reason.spelled(trouble.value)


def _is_never_decoded(data: bytes) -> bool:
    head = data[:256].lstrip()
    is_heic_or_avif = data[4:8] == b"ftyp"
    return head.startswith(NEVER_DECODED) or is_heic_or_avif or (head.startswith(b"<?xml") and b"<svg" in head)
