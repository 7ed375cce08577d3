"""Strips fit their width, whatever the number and shape of their pictures."""

import io

import pytest
from PIL import Image

from stages.evaluation.strips import (
    MAX_CELL_PX,
    MAX_DRAWN,
    SPACE_PX,
    DrawnFilm,
    Strip,
    StripCell,
    draw_strip,
    drawn_frames,
    film_strip,
    strip_size,
)

WIDTH_PX = 900


def picture(width_px: int, height_px: int, colour: str) -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", (width_px, height_px), colour).save(encoded, "PNG")
    return encoded.getvalue()


@pytest.mark.parametrize("aspect", [0.1, 9 / 16, 1.0, 16 / 9, 10.0])
@pytest.mark.parametrize("num_cells", [1, 2, 8, 9, 16, 17, 32])
def test_a_strip_is_as_wide_as_its_room_at_most(num_cells: int, aspect: float) -> None:
    size = strip_size(num_cells, aspect, WIDTH_PX)
    assert size.columns * size.cell_width + (size.columns - 1) * SPACE_PX <= WIDTH_PX
    assert size.cell_height <= MAX_CELL_PX
    assert size.cell_width / size.cell_height == pytest.approx(aspect, rel=0.1)


@pytest.mark.parametrize(("num_cells", "num_rows"), [(1, 1), (8, 1), (9, 2), (16, 2), (17, 2), (32, 3)])
def test_more_pictures_take_more_rows(num_cells: int, num_rows: int) -> None:
    assert -(-num_cells // strip_size(num_cells, 1.5, WIDTH_PX).columns) == num_rows


def test_all_frames_of_a_short_film_are_drawn_and_some_of_a_long_one() -> None:
    assert drawn_frames(MAX_DRAWN) == list(range(MAX_DRAWN))
    many = drawn_frames(256)
    assert len(many) == MAX_DRAWN and (many[0], many[-1]) == (0, 255)


def test_a_frame_stands_over_its_time() -> None:
    film = DrawnFilm(frames=(b"a", b"b"), times=(0.5, 61.25), duration_seconds=70.0, num_frames=2)
    assert film_strip(film) == Strip(
        "film of 01:10.00, 2 frames", (StripCell(b"a", "00:00.50"), StripCell(b"b", "01:01.25"))
    )
    assert film_strip(film, 2).heading.startswith("2: film")


def test_pictures_are_drawn_in_order_from_left_to_right() -> None:
    colours = ("#ff0000", "#00ff00", "#0000ff")
    strip = Strip("three", tuple(StripCell(picture(40, 20, colour), colour) for colour in colours))
    sheet = Image.new("RGB", (WIDTH_PX, 300), "white")
    height_px = draw_strip(sheet, strip, (0, 0), WIDTH_PX)
    size = strip_size(3, 2.0, WIDTH_PX)
    assert height_px == size.height < 300
    middle = 22 + size.cell_height // 2
    found = [sheet.getpixel((n * (size.cell_width + SPACE_PX) + size.cell_width // 2, middle)) for n in range(3)]
    assert found == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


def test_a_strip_of_nothing_is_its_heading() -> None:
    sheet = Image.new("RGB", (WIDTH_PX, 60), "white")
    assert 0 < draw_strip(sheet, Strip("film of 00:01.00, 0 frames", ()), (0, 0), WIDTH_PX) < 60
