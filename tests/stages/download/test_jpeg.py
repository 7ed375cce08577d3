"""What passes as a plain JPEG decodes; what does not is looked at more closely."""

import io
import random
from collections.abc import Callable

import pytest
from PIL import Image

from neo_model.inputs.pictures import open_picture
from stages.download.jpeg import plain_jpeg


def encoded(size: tuple[int, int] = (70, 50), mode: str = "RGB", **options: object) -> bytes:
    written = io.BytesIO()
    Image.effect_noise(size, 70).convert(mode).save(written, "JPEG", **options)
    return written.getvalue()


ORDINARY: list[dict[str, object]] = [
    {},
    {"quality": 40, "subsampling": 0},
    {"quality": 95, "subsampling": 2},
    {"optimize": True},
    {"progressive": True},
    {"restart_marker_blocks": 2},
    {"comment": b"\xff\xd9 says a comment"},
    {"icc_profile": b"\xff\xd9" * 40_000},
]


@pytest.mark.parametrize("options", ORDINARY, ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_ordinary_pictures_are_known_by_their_markers(mode: str, options: dict[str, object]) -> None:
    found = plain_jpeg(encoded(mode=mode, **options))
    assert found is not None
    assert (found.width_px, found.height_px, found.num_components) == (70, 50, 3 if mode == "RGB" else 1)


def test_exif_is_noticed() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert plain_jpeg(encoded(exif=exif)).has_exif
    assert not plain_jpeg(encoded()).has_exif


def test_four_inks_are_left_to_the_decoder() -> None:
    assert plain_jpeg(encoded(mode="CMYK")) is None


def test_more_scans_than_any_encoder_writes_are_left_to_the_decoder() -> None:
    data = encoded(progressive=True)
    last_scan = data[data.rindex(b"\xff\xda") : -2]
    assert plain_jpeg(data[:-2] + last_scan * 5 + data[-2:]) is not None
    assert plain_jpeg(data[:-2] + last_scan * 50 + data[-2:]) is None


@pytest.mark.parametrize("options", ORDINARY[:6], ids=str)
def test_every_truncation_is_noticed(options: dict[str, object]) -> None:
    data = encoded(**options)
    assert all(plain_jpeg(data[:length]) is None for length in range(3, len(data)))


def flip(data: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        damaged[chance.randrange(2, len(damaged))] = chance.choice((0, 0xFF, 0xD9, chance.randrange(256)))
    return bytes(damaged)


def flip_in_head(data: bytes, chance: random.Random) -> bytes:
    end = data.index(b"\xff\xda") + 16
    return flip(data[:end], chance) + data[end:]


def cut_out(data: bytes, chance: random.Random) -> bytes:
    start, length = chance.randrange(2, len(data)), chance.randrange(1, 40)
    return data[:start] + data[start + length :]


def double(data: bytes, chance: random.Random) -> bytes:
    start, length = chance.randrange(2, len(data)), chance.randrange(1, 400)
    return data[: start + length] + data[start:]


@pytest.mark.parametrize("damage", [flip, flip_in_head, cut_out, double])
def test_what_passes_decodes_however_the_file_was_damaged(damage: Callable[[bytes, random.Random], bytes]) -> None:
    chance = random.Random(damage.__name__)
    whole = [encoded((40, 30), mode, **options) for options in ORDINARY[:6] for mode in ("RGB", "L")]
    num_passed = 0
    for _ in range(1500):
        data = damage(chance.choice(whole), chance)
        found = plain_jpeg(data) if data.startswith(b"\xff\xd8\xff") else None
        if found is not None and found.width_px * found.height_px <= 4_000_000:
            num_passed += 1
            image = open_picture(data, max_pixels_px=4_000_000)
            assert {image.width, image.height} == {found.width_px, found.height_px}
    assert num_passed > 20
