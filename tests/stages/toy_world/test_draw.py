"""Drawing: equal scenes give equal bytes, every attribute can be seen, and each encoding is what it says."""

import hashlib
import io
import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
from PIL import Image

from neo_model.inputs.pictures import open_picture, picture_facts
from stages.toy_world import draw
from stages.toy_world.scene import ANSWERS, Scene, scene

SHOWN = scene(7, "train", 5)


def pixels(image: Image.Image, box: tuple[int, int, int, int]) -> set[tuple[int, ...]]:
    return {colour for _, colour in image.crop(box).getcolors(1 << 16) or []}


def test_bytes_are_the_same_in_another_process() -> None:
    code = (
        "import hashlib; from stages.toy_world import draw, scene;"
        "print(hashlib.sha256(draw.jpeg(scene.scene(7, 'train', 5))).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(draw.jpeg(SHOWN)).hexdigest()


def test_no_two_pictures_are_alike() -> None:
    assert len({draw.jpeg(scene(7, "train", number)) for number in range(500)}) == 500


@pytest.mark.parametrize("shape", ANSWERS["shape"])
@pytest.mark.parametrize("colour", ANSWERS["colour"])
def test_every_shape_is_drawn_in_every_colour(shape: str, colour: str) -> None:
    shown = replace(SHOWN, shape=shape, colour=colour, shade=0)
    image = draw.picture(shown)
    for box in shown.shape_boxes:
        found = pixels(image, box)
        assert draw.COLOUR_RGB[colour] in found
        assert found <= {draw.COLOUR_RGB[colour], shown.tint}
        assert (found == {draw.COLOUR_RGB[colour]}) == (shape == "square")


def test_shapes_and_words_differ() -> None:
    assert len({draw.jpeg(replace(SHOWN, shape=shape)) for shape in ANSWERS["shape"]}) == len(ANSWERS["shape"])
    assert len({draw.jpeg(replace(SHOWN, word=word)) for word in ANSWERS["word"]}) == len(ANSWERS["word"])


@pytest.mark.parametrize("number", range(0, 300, 20))
@pytest.mark.parametrize("word", ANSWERS["word"])
def test_the_word_is_large_inside_the_picture_and_away_from_the_shapes(number: int, word: str) -> None:
    shown = replace(scene(7, "train", number), word=word)
    inked = replace(shown, shape_boxes=(), tint=(255, 255, 255), shade=0)
    left, top, right, bottom = draw.picture(inked).convert("L").point(lambda value: 255 - value).getbbox() or (0,) * 4
    assert 0 < left < right < shown.width_px
    assert 0 < top < bottom < shown.height_px
    assert right - left >= min(shown.width_px, shown.height_px) / 4
    for box in shown.shape_boxes:
        assert right <= box[0] or box[2] <= left or bottom <= box[1] or box[3] <= top


def test_a_turned_picture_is_upright_by_its_exif_only() -> None:
    turned = draw.turned_jpeg(SHOWN)
    assert Image.open(io.BytesIO(turned)).size == (SHOWN.height_px, SHOWN.width_px)
    upright = open_picture(turned, max_pixels_px=10**6)
    assert upright.size == (SHOWN.width_px, SHOWN.height_px)
    assert _mean_difference(upright, SHOWN) < 3


@pytest.mark.parametrize("encoded", [draw.jpeg, draw.cmyk_jpeg])
def test_a_picture_survives_its_encoding(encoded: object) -> None:
    assert callable(encoded)
    assert _mean_difference(open_picture(encoded(SHOWN), max_pixels_px=10**6), SHOWN) < 3


@pytest.mark.parametrize(
    ("encoded", "picture_format", "mode", "num_frames"),
    [
        (draw.jpeg(SHOWN), "JPEG", "RGB", 1),
        (draw.cmyk_jpeg(SHOWN), "JPEG", "CMYK", 1),
        (draw.alpha_png(SHOWN), "PNG", "RGBA", 1),
        (draw.animated_gif(SHOWN), "GIF", "P", 2),
        (draw.bomb_png(12_000, 10_000), "PNG", "1", 1),
    ],
)
def test_each_encoding_is_what_it_says(encoded: bytes, picture_format: str, mode: str, num_frames: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        facts = picture_facts(encoded)
    assert (facts.format, facts.mode, facts.num_frames) == (picture_format, mode, num_frames)


def test_the_bomb_is_small() -> None:
    assert len(draw.bomb_png(12_000, 10_000)) < 50_000


def _mean_difference(image: Image.Image, shown: Scene) -> float:
    ours, wanted = image.tobytes(), draw.picture(shown).tobytes()
    assert len(ours) == len(wanted)
    return sum(abs(a - b) for a, b in zip(ours, wanted, strict=True)) / len(ours)
