"""A decoded frame as an upright picture with square pixels in sRGB, and as a JPEG whose bytes follow from it alone.

Interlaced frames are deinterlaced from one frame alone (`estdif`, which fills the lines of the second field from those
of the first): a filter that looks at neighbouring frames would give another picture where a clip begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import numpy as np

from stages.video.facts import fitted_size
from stages.video.faults import VideoError, VideoFault

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

MAX_PIXEL_ASPECT: Final = 8
"""Width of a pixel over its height, or the other way round, that can be true; beyond, pixels are taken for squares."""
HD_LINES: Final = 720
"""Frames of so many lines or more, whose colours are not described, are BT.709, as players take them; others BT.601."""
_HDR_CURVES: Final = frozenset((16, 18))  # SMPTE 2084 (PQ) and ARIB STD-B67 (HLG) in AVColorTransferCharacteristic
_MATRICES: Final = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "SMPTE170M", 7: "SMPTE240M", 9: "BT2020", 10: "BT2020"}


class Upright(NamedTuple):
    """How frames are brought upright: mirrored first, then turned."""

    is_mirrored: bool
    """Whether left and right change places."""
    degrees: int
    """Clockwise: 0, 90, 180 or 270."""


@dataclass(frozen=True, slots=True)
class Look:
    """How the frames of a film become pictures."""

    width_px: int
    """Width of a whole frame, upright, with square pixels."""
    height_px: int
    """Height of a whole frame, upright, with square pixels."""
    turn: Upright
    """How they are brought upright."""


def look_of(frame: VideoFrame, stream: VideoStream) -> Look:
    """How the film looks whose first frame this is. Raises `VideoError` for HDR."""
    check_curve(frame)
    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
    if not Fraction(1, MAX_PIXEL_ASPECT) <= aspect <= MAX_PIXEL_ASPECT:
        aspect = Fraction(1)
    size = max(1, round(frame.width * aspect)), frame.height
    turn = _turn_of(frame)
    return Look(*(size[::-1] if turn.degrees % 180 else size), turn)


def check_curve(frame: VideoFrame) -> None:
    """Raise `VideoError` where the frame's brightness is coded for HDR screens."""
    if int(frame.color_trc) in _HDR_CURVES:
        raise VideoError(VideoFault.HDR, "PQ" if int(frame.color_trc) == 16 else "HLG")


class Painter:
    """Frames of one film to pictures of one size."""

    def __init__(self, look: Look, max_px: int) -> None:
        from av.video.reformatter import VideoReformatter

        self._look = look
        self.size_px = fitted_size(look.width_px, look.height_px, max_px)
        """(width, height) of the pictures."""
        self._reformatter = VideoReformatter()

    def rgb(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """[height, width, 3] the picture, scaled from YUV in one pass."""
        from av.video.reformatter import ColorRange, Interpolation

        check_curve(frame)
        if frame.interlaced_frame:
            frame = _deinterlaced(frame)
        width_px, height_px = self.size_px
        turn = self._look.turn
        if turn.degrees % 180:
            width_px, height_px = height_px, width_px
        exact = Interpolation.ACCURATE_RND | Interpolation.BITEXACT | Interpolation.FULL_CHR_H_INT
        small = self._reformatter.reformat(
            frame,
            width=width_px,
            height=height_px,
            format="rgb24",
            src_colorspace=_matrix(frame),
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.AREA | exact,
            threads=1,
        )
        pixels = cast("NDArray[np.uint8]", small.to_ndarray())
        if turn.is_mirrored:
            pixels = pixels[:, ::-1]
        return np.ascontiguousarray(np.rot90(pixels, -turn.degrees // 90))

    def jpeg(self, frame: VideoFrame, quality: int) -> bytes:
        """The picture as a JPEG, its colours at half resolution."""
        import simplejpeg

        return bytes(simplejpeg.encode_jpeg(self.rgb(frame), quality=quality, colorsubsampling="420", fastdct=False))


def _turn_of(frame: VideoFrame) -> Upright:
    """From the display matrix of the file: (x, y) of the frame is shown at (a x + c y, b x + d y), y downwards."""
    from av.sidedata.sidedata import Type

    side_data: Any = frame.side_data
    data = side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return Upright(False, 0)
    a, b, _, c, d = np.frombuffer(bytes(data), "<i4")[:5].astype(np.float64)
    is_mirrored = a * d - b * c < 0
    if is_mirrored:
        a, b = -a, -b
    degrees = round(float(np.degrees(np.arctan2(b, a))) / 90) * 90 % 360
    return Upright(bool(is_mirrored), degrees)


def _matrix(frame: VideoFrame) -> Any:
    from av.video.reformatter import Colorspace

    name = _MATRICES.get(int(frame.colorspace)) or ("ITU709" if frame.height >= HD_LINES else "ITU601")
    return Colorspace[name]


def _deinterlaced(frame: VideoFrame) -> VideoFrame:
    """The frame with the lines of its second field interpolated from the first's."""
    import av.filter

    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000))
    sink = graph.add("buffersink")
    graph.link_nodes(source, graph.add("estdif", "mode=frame:parity=auto:deint=all"), sink)
    graph.configure()
    source.push(frame)
    source.push(None)
    return cast("VideoFrame", sink.pull())
