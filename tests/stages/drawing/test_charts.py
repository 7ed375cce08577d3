"""Charts show each bin and name where it belongs, and nothing leaves its panel."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from stages.drawing.charts import Histogram, Panel, RankedNames, chart_picture, chosen_ticks, nice_step
from stages.drawing.palette import COLOURS, GROUND, WIDTH_PX

EDGES = (0.0, 1.0, 2.0, 4.0, 8.0)


def histogram(counts: dict[str, list[int]], **changes: object) -> Histogram:
    fields: dict[str, object] = {"title": "length, m", "edges": EDGES, "counts": counts}
    return Histogram(**{**fields, **changes})  # type: ignore[arg-type]


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def coloured(picture: np.ndarray, colour: str) -> np.ndarray:
    wanted = tuple(int(colour[place : place + 2], 16) for place in (1, 3, 5))
    found: np.ndarray = np.all(picture == wanted, axis=-1)
    return found


def test_a_value_lies_in_its_bin() -> None:
    chart = histogram({"kept": [0, 1, 0, 0, 2, 0]})
    places = [chart.place(value) for value in (-5, 0, 0.5, 1, 3, 8, 99)]
    assert places == [1, 1, 1.5, 2, 3.5, 5, 5]


@pytest.mark.parametrize("counts", [[0] * 6, [1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1], [5] * 6])
def test_all_filled_bins_are_shown(counts: list[int]) -> None:
    shown = histogram({"kept": counts}).shown()
    assert {place for place, count in enumerate(counts) if count} <= set(shown) <= set(range(6))


def test_many_bins_are_shown_around_those_that_hold_something() -> None:
    edges = tuple(map(float, range(100)))
    counts = [0] * 101
    counts[50] = counts[53] = 7
    shown = histogram({"kept": counts}, edges=edges).shown()
    assert shown.start < 50 <= 53 < shown.stop - 1
    assert 12 <= len(shown) <= 14


@pytest.mark.parametrize("highest", [0, 1, 4, 9, 99, 1234, 390_000_000])
def test_axes_have_a_few_lines_at_round_numbers(highest: int) -> None:
    step = nice_step(highest)
    assert highest / step <= 5
    assert step / 10 ** math.floor(math.log10(step)) in (1, 2, 5)


def test_few_ticks_are_labelled() -> None:
    ticks = [(float(edge), str(edge)) for edge in range(50)]
    chart = histogram({"kept": [1] * 51}, edges=tuple(map(float, range(50))), ticks=ticks)
    labels = [label for _, label in chosen_ticks(chart, chart.shown())]
    assert labels == ["0", "9", "18", "27", "36", "45"]


def test_how_items_ended_is_seen_in_proportion() -> None:
    counts = {"kept": [0, 30, 30, 0, 0, 0], "dropped": [0, 20, 0, 0, 0, 0], "failed": [0, 10, 0, 0, 0, 0]}
    picture = pixels(chart_picture([histogram(counts)], "title"))[120:]  # below the legend
    areas = {role: int(coloured(picture, colour).sum()) for role, colour in COLOURS.items()}
    assert areas["kept"] / areas["failed"] == pytest.approx(6, rel=0.1)
    assert areas["dropped"] / areas["failed"] == pytest.approx(2, rel=0.1)


def test_pictures_are_the_same_bytes_each_time_and_nothing_leaves_the_margins() -> None:
    names = RankedNames(title="hosts", rows=[("a" * 500, {"kept": 9}), ("\x1b\u202e", {"failed": 1})], num_without=3)
    wide = histogram({"kept": [1] * 6}, limits=[("a limit with a long name " * 9, 4.0)], num_without=10**12)
    panels: list[Panel] = [wide, names, histogram({}), RankedNames(title="none", rows=[])]
    png = chart_picture(panels, "a title " * 40, "a note " * 90)
    assert png == chart_picture(panels, "a title " * 40, "a note " * 90)
    picture = pixels(png)
    assert picture.shape[1] == WIDTH_PX
    ground = coloured(picture, GROUND)
    assert ground[:, :30].all()
    assert ground[:, -30:].all()
