"""Mutated and hostile pictures end in a verdict, in bounded time and memory, and never as `unexplained`."""

import io
import json
import struct
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stages.download.judge_picture import PictureJudge
from stages.download.picture_recipe import PictureRecipe
from stages.download.reasons import Reason, RowError
from tests.worlds.mutated_pictures import mutated, seeds

ROOT = Path(__file__).parents[3]
MEASURE = """
import json, resource, sys, time
from tests.stages.download.test_mutated_pictures import ends_of, judged, warm_up
warm_up()
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
told = ends_of(int(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) > 2 else judged(open(sys.argv[1], "rb").read())
peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
print(json.dumps([told, time.process_time() - start, peak]))
"""


def judged(data: bytes, max_pixels_px: int = 64_000_000) -> str:
    """`kept`, or the reason why not. Lets out whatever is no reason."""
    try:
        PictureJudge(PictureRecipe(max_pixels_px=max_pixels_px).picture_rule)(data)
    except RowError as error:
        return error.reason.value
    return "kept"


def ends_of(first: int, stop: int) -> dict[str, int]:
    return dict(Counter(judged(mutated(number)) for number in range(first, stop)))


def warm_up() -> None:
    """Load all decoders."""
    assert {judged(data) for data in seeds()} == {"kept"}


def measured(*words: str) -> tuple[Any, float, int]:
    """What a process of its own says, the processor seconds it took and the memory it needed, in bytes."""
    done = subprocess.run([sys.executable, "-c", MEASURE, *words], cwd=ROOT, check=True, capture_output=True, text=True)
    told, seconds, peak = json.loads(done.stdout)
    return told, seconds, peak


def check_mutations(first: int, stop: int) -> None:
    ends, seconds, peak = measured(str(first), str(stop))
    assert sum(ends.values()) == stop - first
    assert set(ends) <= {"kept", *(reason.value for reason in Reason)} - {"unexplained"}, ends
    assert {"kept", "truncated", "undecodable", "not_image", "too_many_pixels"} <= set(ends)
    assert peak < 1_400_000_000 and seconds < 0.05 * (stop - first) + 30


def test_mutated_pictures_end_in_a_verdict() -> None:
    check_mutations(0, 1000)


@pytest.mark.kill
def test_ten_thousand_mutated_pictures_end_in_a_verdict() -> None:
    check_mutations(1000, 11_000)


def tiff_of_one_pixel(tile_px: int, compressed: bytes) -> bytes:
    """A TIFF of one pixel, in a square tile of `tile_px`."""
    tags = [(256, 1), (257, 1), (258, 8), (259, 8), (262, 1), (277, 1), (322, tile_px), (323, tile_px)]
    tags += [(324, 8 + 2 + 12 * 10 + 4), (325, len(compressed))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + compressed


def encoded(encoding: str, mode: str, size: tuple[int, int], **options: Any) -> bytes:
    written = io.BytesIO()
    Image.new(mode, size).save(written, encoding, **options)
    return written.getvalue()


def test_a_tile_that_is_larger_than_any_picture_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "tile.tif"
    path.write_bytes(tiff_of_one_pixel(20_000, zlib.compress(bytes(20_000 * 20_000), 1)))
    told, _, peak = measured(str(path))
    assert told == "too_many_pixels" and peak < 50_000_000
    assert judged(tiff_of_one_pixel(64, zlib.compress(bytes(64 * 64)))) == "kept"
    assert judged(tiff_of_one_pixel(64, zlib.compress(bytes(64 * 64))), max_pixels_px=4095) == "too_many_pixels"


@pytest.mark.parametrize("size", [(65_501, 2), (2, 65_501), (65_535, 1)])
@pytest.mark.parametrize("encoding", ["PNG", "GIF", "BMP", "TIFF"])
def test_a_side_that_no_jpeg_may_have_has_its_reason(encoding: str, size: tuple[int, int]) -> None:
    assert judged(encoded(encoding, "L", size)) == "side_too_long"


def test_the_longest_side_of_a_jpeg_is_kept() -> None:
    assert judged(encoded("PNG", "L", (65_500, 2))) == "kept"
    assert judged(encoded("PNG", "L", (70_000, 2)), max_pixels_px=100_000) == "too_many_pixels"


BYTES_PER_PIXEL = 22
"""Memory that one picture may take beside its data, for each pixel: the bound of `open_pixels`, and some to encode."""


@pytest.mark.parametrize("side_px", [2000, 4000])
@pytest.mark.parametrize(
    ("encoding", "mode", "options"),
    [
        ("PNG", "I;16", {}),
        ("PNG", "RGBA", {}),
        ("PNG", "LA", {}),
        ("TIFF", "F", {"compression": "tiff_lzw"}),
        ("TIFF", "I", {"compression": "tiff_lzw"}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("JPEG", "CMYK", {}),
    ],
)
def test_memory_grows_with_pixels_and_no_faster(
    tmp_path: Path, encoding: str, mode: str, options: dict[str, Any], side_px: int
) -> None:
    path = tmp_path / "large"
    path.write_bytes(encoded(encoding, mode, (side_px, side_px), **options))
    told, _, peak = measured(str(path))
    assert told == "kept"
    assert peak < BYTES_PER_PIXEL * side_px**2 + 40_000_000
