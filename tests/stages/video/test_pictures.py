"""Frames as pictures: upright, square pixels, progressive, in sRGB."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray

from stages.video.faults import VideoError, VideoFault
from stages.video.packets import decode_packet_frames
from stages.video.reader import VideoReader
from tests.worlds.films import FORMS, constant_times, number_in, numbered, write_film

Picture = Callable[[int, int, int], NDArray[np.uint8]]


def stored_turned(clockwise_degrees: int, *, is_mirrored: bool) -> Picture:
    """Numbered frames as a camera stores them that asks to mirror them, then to turn them clockwise."""

    def picture(number: int, width_px: int, height_px: int) -> NDArray[np.uint8]:
        upright = (height_px, width_px) if clockwise_degrees % 180 else (width_px, height_px)
        stored = np.rot90(numbered(number, *upright), clockwise_degrees // 90)
        return np.ascontiguousarray(stored[:, ::-1] if is_mirrored else stored)

    return picture


def read_numbers(reader: VideoReader, path: Path) -> list[int | None]:
    """The numbers in the frames, whose pictures must come out of packets alike."""
    reader.open(path)
    times = reader.frame_times()
    frames = reader.frames(times, 10**6, 90)
    packets = reader.packets(times[20], times[30])
    jpegs = decode_packet_frames(packets.mp4, [packets.pts_at(time) for time in times[20:30]], 10**6, 90)
    assert jpegs == [frame.jpeg for frame in frames[20:30]]
    return [number_in(frame.jpeg) for frame in frames]


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("is_mirrored", [False, True], ids=["", "mirrored"])
def test_frames_are_upright(reader: VideoReader, tmp_path: Path, degrees: int, is_mirrored: bool) -> None:
    # FFmpeg's function turns counter-clockwise, then mirrors, which turns the other way round.
    counter_clockwise = degrees if is_mirrored else -degrees
    form = replace(
        FORMS["h264"], prepare=lambda stream: stream.set_display_rotation(counter_clockwise, hflip=is_mirrored)
    )
    picture = stored_turned(degrees, is_mirrored=is_mirrored)
    path = write_film(tmp_path / "film.mp4", form, picture=picture)
    facts = reader.open(path)
    assert (facts.rotation_degrees, facts.is_mirrored) == (degrees, is_mirrored)
    assert (facts.width_px, facts.height_px) == ((64, 96) if degrees % 180 else (96, 64))
    assert read_numbers(reader, path) == list(range(50))


def with_aspect(aspect: Fraction) -> Callable[[Any], None]:
    """Make pixels wider or narrower than high."""

    def prepare(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = aspect

    return prepare


@pytest.mark.parametrize("name", ["h264", "hevc", "h264-mkv", "h264-ts", "mpeg4-avi"])
def test_pixels_are_made_square(reader: VideoReader, tmp_path: Path, name: str) -> None:
    form = FORMS[name]
    wide = replace(form, prepare=with_aspect(Fraction(4, 3)))
    path = write_film(tmp_path / f"film{form.suffix}", wide)
    facts = reader.open(path)
    assert (facts.width_px, facts.height_px) == (128, 64)
    assert read_numbers(reader, path) == list(range(50))


def test_pixels_of_an_absurd_shape_are_taken_for_squares(reader: VideoReader, tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", replace(FORMS["h264"], prepare=with_aspect(Fraction(1, 100))))
    assert reader.open(path).width_px == 96


INTERLACED = {
    "h264": {"preset": "veryfast", "crf": "10", "x264-params": "interlaced=1"},
    "mpeg2-ts": {"flags": "+ildct+ilme", "qscale": "2"},
}


def moving_bar(number: int, width_px: int, height_px: int) -> NDArray[np.uint8]:
    """Two fields of a bar that has moved on by half its width in the second."""
    picture = np.zeros((height_px, width_px, 3), np.uint8)
    for field, shift in enumerate((0, 8)):
        picture[field::2, number + 16 + shift : number + 32 + shift] = 255
    return picture


@pytest.mark.parametrize("name", list(INTERLACED))
def test_interlaced_frames_show_one_moment(reader: VideoReader, tmp_path: Path, name: str) -> None:
    form = replace(FORMS[name], options=INTERLACED[name])
    path = write_film(tmp_path / f"film{form.suffix}", form, picture=moving_bar)
    assert reader.open(path).is_interlaced
    (frame,) = reader.frames([0.4], 10**6, 95)
    grey = simplejpeg.decode_jpeg(frame.jpeg).astype(float).mean(axis=2)
    combing = np.abs(grey[1:] - grey[:-1]).mean()
    assert combing < 8  # as stored, each line is another than the next in 16 of 96 columns: 42
    path = write_film(tmp_path / f"numbers{form.suffix}", form)
    assert read_numbers(reader, path) == list(range(50))


BLOCKS = np.array([[200, 40, 40], [40, 190, 50], [50, 60, 210], [230, 210, 70]], np.uint8)


def coloured(number: int, width_px: int, height_px: int) -> NDArray[np.uint8]:
    """Four vertical bars."""
    return np.tile(np.repeat(BLOCKS, width_px // 4, axis=0)[None], (height_px, 1, 1))


def with_colours(matrix: int, colour_range: int, curve: int = 1, primaries: int = 1) -> Callable[[Any], None]:
    """Say how colours are coded, by FFmpeg's numbers: matrix 1 is BT.709, 6 BT.601; range 2 is full."""

    def prepare(stream: Any) -> None:
        context = stream.codec_context
        context.colorspace, context.color_range = matrix, colour_range
        context.color_trc, context.color_primaries = curve, primaries

    return prepare


def encoded_by(matrix: int, colour_range: int) -> Picture:
    """Bars that PyAV's own conversion (BT.601, limited range) turns into the numbers that the said coding has."""
    weights = {1: (0.2126, 0.7152, 0.0722), 6: (0.299, 0.587, 0.114)}

    def luma_chroma(rgb: NDArray[np.float64], code: int) -> NDArray[np.float64]:
        red, green, blue = weights[code]
        luma = rgb @ np.array([red, green, blue])
        return np.stack([luma, (rgb[:, 2] - luma) / (2 - 2 * blue), (rgb[:, 0] - luma) / (2 - 2 * red)], axis=1)

    def back(coded: NDArray[np.float64], code: int) -> NDArray[np.float64]:
        red, green, blue = weights[code]
        r = coded[:, 0] + (2 - 2 * red) * coded[:, 2]
        b = coded[:, 0] + (2 - 2 * blue) * coded[:, 1]
        return np.stack([r, (coded[:, 0] - red * r - blue * b) / green, b], axis=1)

    coded = luma_chroma(BLOCKS / 255.0, matrix)
    if colour_range == 2:  # the numbers of full range, read as those of limited range
        coded = np.stack([(coded[:, 0] * 255 - 16) / 219, *(coded[:, 1:] * 255 / 224).T], axis=1)
    bars = np.clip(np.round(back(coded, 6) * 255), 0, 255).astype(np.uint8)

    def picture(number: int, width_px: int, height_px: int) -> NDArray[np.uint8]:
        return np.tile(np.repeat(bars, width_px // 4, axis=0)[None], (height_px, 1, 1))

    return picture


@pytest.mark.parametrize(("matrix", "colour_range"), [(1, 1), (6, 1), (6, 2)])
def test_colours_follow_what_the_stream_says(
    reader: VideoReader, tmp_path: Path, matrix: int, colour_range: int
) -> None:
    form = replace(FORMS["h264"], pixel_format="yuv444p", prepare=with_colours(matrix, colour_range))
    reader.open(write_film(tmp_path / "film.mp4", form, constant_times(2), picture=encoded_by(matrix, colour_range)))
    (frame,) = reader.frames([0], 10**6, 95)
    shown = simplejpeg.decode_jpeg(frame.jpeg)[32, 12::24].astype(int)
    assert np.abs(shown - BLOCKS.astype(int)).max() <= 12  # the matrices differ by 30 and more


@pytest.mark.parametrize(("curve", "told"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused(reader: VideoReader, tmp_path: Path, curve: int, told: str) -> None:
    form = replace(FORMS["hevc-10-bit"], prepare=with_colours(9, 1, curve, 9))
    path = write_film(tmp_path / "film.mp4", form, constant_times(10))
    with pytest.raises(VideoError) as caught:
        reader.open(path)
    assert (caught.value.fault, caught.value.detail) == (VideoFault.HDR, told)


def test_wide_gamut_that_is_not_hdr_is_converted(reader: VideoReader, tmp_path: Path) -> None:
    form = replace(FORMS["h264-10-bit"], prepare=with_colours(9, 1, 14, 9))
    assert read_numbers(reader, write_film(tmp_path / "film.mp4", form)) == list(range(50))
