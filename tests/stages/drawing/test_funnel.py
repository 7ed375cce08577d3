"""The funnel narrows by what each reason took."""

import io

import numpy as np
import pytest
from PIL import Image

from stages.drawing.funnel import MAX_REASONS, funnel_picture, removals
from tests.stages.drawing.test_charts import coloured, pixels


def test_failures_come_first_and_frequent_reasons_before_rare_ones() -> None:
    rows = removals({"small": 2, "blank": 7}, {"gone": 3})
    assert [(row.role, row.reason, row.num_items) for row in rows] == [
        ("failed", "gone", 3),
        ("dropped", "blank", 7),
        ("dropped", "small", 2),
    ]


def test_of_very_many_reasons_the_rarest_are_summed() -> None:
    rows = removals({f"rule_{number:03d}": number for number in range(1, 101)}, {})
    assert len(rows) == MAX_REASONS // 2 + 1
    assert rows[-1].reason == "80 further reasons"
    assert sum(row.num_items for row in rows) == sum(range(1, 101))


def test_bars_are_as_long_as_the_numbers() -> None:
    picture = pixels(funnel_picture(50, {"small": 30}, {"gone": 20}, "title", "note"))[110:]
    long = {role: int(coloured(picture, colour).any(axis=0).sum()) for role, colour in
            {"kept": "#2f9374", "dropped": "#e3a53a", "failed": "#c8402f"}.items()}  # fmt: skip
    assert long["kept"] / long["dropped"] == pytest.approx(50 / 30, rel=0.02)
    assert long["kept"] / long["failed"] == pytest.approx(50 / 20, rel=0.02)
    starts = {role: int(np.argmax(coloured(picture, colour).any(axis=0))) for role, colour in
              {"dropped": "#e3a53a", "failed": "#c8402f"}.items()}  # fmt: skip
    assert starts["dropped"] + long["dropped"] == pytest.approx(starts["failed"], abs=2)


@pytest.mark.parametrize("kept", [0, 1, 390_000_000])
def test_nothing_and_everything_can_be_drawn(kept: int) -> None:
    png = funnel_picture(kept, {"\u202egnorw\x00": kept}, {}, "title", "note")
    assert png == funnel_picture(kept, {"\u202egnorw\x00": kept}, {}, "title", "note")
    assert Image.open(io.BytesIO(png)).size[0] == 1320
