"""Mutated and hostile pictures end in a verdict, in bounded time and memory, and never as `unexplained`."""

import io
import json
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import simplejpeg
from PIL import Image

from neo_model.inputs.containers.read_container import read_container
from neo_model.inputs.pictures import PictureError, PictureTrouble
from stages.download.judge_picture import PictureJudge
from stages.download.picture_recipe import PictureRecipe
from stages.download.reasons import Reason, RowError
from stages.pair_filters.pictures import measure_picture
from tests.worlds.cut_up_pictures import CUT_UP
from tests.worlds.mutated_pictures import mutated, seeds

ROOT = Path(__file__).parents[3]
MEASURE = """
import json, sys
from tests.stages.download.test_mutated_pictures import judged, spent, tried, warm_up
warm_up()
if len(sys.argv) > 2:
    told = tried(int(sys.argv[1]), int(sys.argv[2]))
else:
    data = open(sys.argv[1], "rb").read()
    told = spent(lambda: judged(data))
print(json.dumps(told))
"""
MAX_CPU_SECONDS = 20.0
"""Processor time that one picture of up to 20 MB and 64 megapixels may take, on a busy machine; an idle one takes a
third of it for the largest, and a second for a file that is cut up into pieces."""
MAX_BYTES = 1_470_000_000
"""Memory that one picture of 64 megapixels may take: `BYTES_PER_PIXEL` each, and `CONSTANT_BYTES`."""


def judged(data: bytes, max_pixels_px: int = 64_000_000) -> str:
    """`kept`, or the reason why not. Lets out whatever is no reason."""
    try:
        PictureJudge(PictureRecipe(max_pixels_px=max_pixels_px).picture_rule)(data)
    except RowError as error:
        return error.reason.value
    return "kept"


def measured_as(data: bytes) -> str:
    """`measured`, or the reason why `filter_pairs` cannot."""
    try:
        measure_picture(data)
    except PictureError as error:
        return error.reason.value
    return "measured"


def spent(work: Callable[[], str]) -> tuple[str, float, int]:
    """What `work` says, the processor seconds that it takes and the memory that it needs at its peak, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is in use
    before, started = peak_bytes(), time.process_time()
    told = work()
    return told, time.process_time() - started, peak_bytes() - before


def peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def tried(first: int, stop: int) -> dict[str, Any]:
    """How mutations end, and which of them takes longest and most."""
    ends: dict[str, Counter[str]] = {"judged": Counter(), "measured": Counter()}
    most_seconds, most_bytes = (0.0, first), (0, first)
    for number in range(first, stop):
        data = mutated(number)
        for name, work in (("judged", judged), ("measured", measured_as)):
            told, seconds, num_bytes = spent(partial(work, data))
            ends[name][told] += 1
            most_seconds, most_bytes = max(most_seconds, (seconds, number)), max(most_bytes, (num_bytes, number))
    return {**ends, "most_seconds": most_seconds, "most_bytes": most_bytes}


def warm_up() -> None:
    """Load all decoders."""
    assert {judged(data) for data in seeds()} == {"kept"}


def in_a_process(*words: str) -> Any:
    """What a process of its own says."""
    done = subprocess.run([sys.executable, "-c", MEASURE, *words], cwd=ROOT, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def measured(*words: str) -> tuple[Any, float, int]:
    """Of one file: its verdict, the processor seconds it took and the memory it needed, in bytes."""
    told, seconds, peak = in_a_process(*words)
    return told, seconds, peak


def check_mutations(first: int, stop: int) -> None:
    found = in_a_process(str(first), str(stop))
    print(f"mutations {first} to {stop - 1}: {found}")
    judged_as, measured_so = found["judged"], found["measured"]
    assert sum(judged_as.values()) == sum(measured_so.values()) == stop - first
    assert set(judged_as) <= {"kept", *(reason.value for reason in Reason)} - {"unexplained"}, judged_as
    assert {"kept", "truncated", "undecodable", "not_image", "too_many_pixels"} <= set(judged_as)
    assert {"measured", "truncated", "undecodable", "not_image"} <= set(measured_so)
    assert set(measured_so) <= {"measured", *(trouble.value for trouble in PictureTrouble)}
    assert found["most_seconds"][0] < MAX_CPU_SECONDS and found["most_bytes"][0] < MAX_BYTES, found


def test_mutated_pictures_end_in_a_verdict() -> None:
    check_mutations(0, 1000)


@pytest.mark.kill
def test_ten_thousand_mutated_pictures_end_in_a_verdict() -> None:
    check_mutations(1000, 11_000)


@pytest.mark.parametrize("num_bytes", [2_000_000, 20_000_000])
@pytest.mark.parametrize("name", CUT_UP)
def test_a_file_that_is_cut_up_as_no_picture_is_is_not_walked_through(
    tmp_path: Path, name: str, num_bytes: int
) -> None:
    path = tmp_path / "cut_up"
    path.write_bytes(CUT_UP[name](num_bytes))
    told, seconds, peak = measured(str(path))
    assert told == "undecodable" and peak < 20_000_000 + 4 * num_bytes and seconds < MAX_CPU_SECONDS


@pytest.mark.parametrize("name", sorted(CUT_UP.keys() - {"webp alpha", "tiff directories"}))
def test_some_thousand_pieces_are_no_reason(name: str) -> None:
    data = CUT_UP[name](40_000)
    assert (judged(data), measured_as(data)) == ("kept", "measured")


def test_a_profile_in_more_pieces_than_a_byte_can_number_is_none() -> None:
    data = CUT_UP["jpeg profiles"](18 * 300)
    assert judged(data) == "kept" and read_container(data).profile is None


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


def test_measures_of_a_picture_that_cannot_be_reduced_take_little_more_than_to_decode_it() -> None:
    large = Image.linear_gradient("L").resize((4000, 4000)).convert("RGB")
    written = io.BytesIO()
    large.save(written, "JPEG")
    whole = written.getvalue()
    cut = whole[: len(whole) * 9 // 10] + b"\xff\xd9"  # which its decoder warns of
    with pytest.raises(ValueError, match="premature|corrupt|Corrupt|extraneous"):
        simplejpeg.decode_jpeg(cut, "GRAY")
    told, _, peak = spent(lambda: measured_as(cut))
    assert told == "measured" and peak < BYTES_PER_PIXEL * 4000**2 + CONSTANT_BYTES


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
CONSTANT_BYTES = 60_000_000
"""Memory that a picture of any size may take beside: bands of it in wider numbers, and what decoders load."""


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
    assert peak < BYTES_PER_PIXEL * side_px**2 + CONSTANT_BYTES


LARGE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "grey PNG": ("PNG", "L", {}),
    "grey JPEG": ("JPEG", "L", {}),
    "grey WebP": ("WEBP", "L", {}),
    "grey GIF": ("GIF", "L", {}),
    "grey TIFF": ("TIFF", "L", {"compression": "tiff_lzw"}),
    "grey BMP": ("BMP", "L", {}),
    "grey of 16 bits": ("PNG", "I;16", {}),
    "grey and alpha": ("PNG", "LA", {}),
    "RGBA": ("PNG", "RGBA", {}),
    "RGBA WebP": ("WEBP", "RGBA", {"lossless": True}),
    "palette": ("PNG", "P", {}),
    "GIF": ("GIF", "P", {"save_all": True, "num_frames": 2}),
    "animated WebP": ("WEBP", "RGB", {"save_all": True, "num_frames": 2, "lossless": True}),
    "APNG": ("PNG", "RGB", {"save_all": True, "num_frames": 2}),
    "progressive JPEG": ("JPEG", "RGB", {"progressive": True}),
    "CMYK JPEG": ("JPEG", "CMYK", {}),
    "TIFF of floats": ("TIFF", "F", {"compression": "tiff_lzw"}),
    "TIFF of integers": ("TIFF", "I", {"compression": "tiff_lzw"}),
}
"""Kind of picture to format, mode and options; of `num_frames` frames each is of another colour."""
WRITE = """
import sys
from PIL import Image
from tests.stages.download.test_mutated_pictures import LARGE
encoding, mode, options = LARGE[sys.argv[1]]
size = (int(sys.argv[2]), int(sys.argv[2]))
num_frames = options.pop("num_frames", 1)
if num_frames > 1:
    options["append_images"] = [Image.new(mode, size, 60 * number) for number in range(1, num_frames)]
Image.new(mode, size).save(sys.argv[3], encoding, **options)
"""


@pytest.mark.parametrize("side_px", [1000, pytest.param(8000, marks=pytest.mark.long)])
def test_a_picture_of_every_kind_takes_bounded_time_and_memory(tmp_path: Path, side_px: int) -> None:
    """Of 64 megapixels each, the most that the default takes; each is judged in a process of its own."""
    ends = {}
    for kind in LARGE if side_px == 8000 else ("palette", "animated WebP", "APNG", "progressive JPEG"):
        path = tmp_path / "large"
        subprocess.run([sys.executable, "-c", WRITE, kind, str(side_px), str(path)], cwd=ROOT, check=True)
        ends[kind] = measured(str(path))
        print(f"{kind}: {path.stat().st_size:,} bytes, {ends[kind]}")
    most = BYTES_PER_PIXEL * side_px**2 + CONSTANT_BYTES
    assert {kind for kind, (told, seconds, peak) in ends.items() if seconds >= MAX_CPU_SECONDS or peak >= most} == set()
    assert {told for told, _, _ in ends.values()} == {"kept"}
