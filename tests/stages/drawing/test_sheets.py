"""Contact sheets show pictures as they are, and say what cannot be shown."""

import io

import numpy as np
import pytest
from PIL import Image

from stages.drawing.sheets import SheetBand, SheetCell, sheet_picture
from tests.stages.drawing.test_charts import coloured, pixels
from tests.worlds.copied_pairs import picture


def plain(colour: str, size: tuple[int, int] = (60, 30)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def sheet(*cells: SheetCell) -> np.ndarray:
    return pixels(sheet_picture([SheetBand("reason", "3 of 9", cells)], "dropped", "title", "note"))


def test_a_picture_keeps_its_shape() -> None:
    found = coloured(sheet(SheetCell(plain("#ff00ff"), "caption", ("60 x 30 px",))), "#ff00ff")
    tall, wide = int(found.any(axis=1).sum()), int(found.any(axis=0).sum())
    assert wide / tall == pytest.approx(2, rel=0.03)


def test_pictures_stand_in_order_from_left_to_right() -> None:
    drawn = sheet(*(SheetCell(plain(colour), "") for colour in ("#ff00ff", "#00ffff", "#0000ff")))
    lefts = [int(np.argmax(coloured(drawn, colour).any(axis=0))) for colour in ("#ff00ff", "#00ffff", "#0000ff")]
    assert lefts == sorted(lefts)
    assert len(set(lefts)) == 3


@pytest.mark.parametrize("data", [b"", b"GIF89a", picture("broken 40 JPEG 1"), plain("red", (70_000, 1))])
def test_a_picture_that_does_not_decode_is_said_in_its_place(data: bytes) -> None:
    broken = sheet(SheetCell(data, "caption"), SheetCell(plain("#ff00ff"), ""))
    assert coloured(broken, "#ff00ff").any()
    assert (broken != sheet(SheetCell(plain("#ecebe5"), "caption"), SheetCell(plain("#ff00ff"), ""))).any()


@pytest.mark.parametrize(
    "text", ["", "x" * 100_000, "\u202e\x1b[2J\x00", "犬" * 500, "e" + "\u0301" * 5000, "a b " * 5000]
)
def test_no_text_breaks_a_sheet(text: str) -> None:
    with_picture, without = SheetCell(plain("red"), text, (text, text)), SheetCell(None, text, (text, text))
    for cells in ([with_picture], [without], [with_picture, without]):
        png = sheet_picture([SheetBand(text, "1 of 1", cells)], "failed", text[:50], text)
        assert png == sheet_picture([SheetBand(text, "1 of 1", cells)], "failed", text[:50], text)
        drawn = pixels(png)
        assert drawn.shape[0] < 600
        assert coloured(drawn, "#f5f4f0")[:, -30:].all()


def test_texts_take_the_room_that_they_need() -> None:
    short = sheet(SheetCell(None, "a short text"))
    long = sheet(SheetCell(None, "a long text " * 100))
    assert short.shape[0] < long.shape[0] < short.shape[0] + 150


def test_a_better_picture_stands_on_the_right() -> None:
    cell = SheetCell(plain("#ff00ff"), "a long caption " * 30, better=plain("#00ffff"))
    bands = [SheetBand("reason", "1 of 1", [cell], is_wide=True, text_lines=lines) for lines in (2, 6)]
    short, tall = (pixels(sheet_picture([band], "dropped", "title", "note")) for band in bands)
    lefts = [int(np.argmax(coloured(short, colour).any(axis=0))) for colour in ("#ff00ff", "#00ffff")]
    areas = [int(coloured(short, colour).sum()) for colour in ("#ff00ff", "#00ffff")]
    assert lefts[0] < lefts[1]
    assert areas[0] == pytest.approx(areas[1], rel=0.05)
    assert tall.shape[0] - short.shape[0] == 4 * 16
