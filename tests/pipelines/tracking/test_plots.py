"""Curves are drawn whatever the numbers: one point, equal values, gaps, none."""

import io

import pytest
from PIL import Image

from pipelines.tracking.page_contents import is_loss, order_of_losses
from pipelines.tracking.plots import COLOURS, PAPER, draw_curves


def colours(png: bytes) -> set[str]:
    image = Image.open(io.BytesIO(png)).convert("RGB")
    return {"#{:02x}{:02x}{:02x}".format(*colour) for _, colour in image.getcolors(2**20)}


@pytest.mark.parametrize(
    "curve",
    [
        [(10, 2.0)],
        [(10, 0.0), (20, 0.0)],
        [(10, 1e-9), (20, 1e9)],
        [(1, float("nan")), (2, 3.0)],
        [(5, -1.0), (5, 1.0)],
    ],
)
def test_any_finite_numbers_make_a_curve(curve: list[tuple[int, float]]) -> None:
    assert COLOURS[0] in colours(draw_curves({"loss": curve}, "a run"))


def test_what_has_no_finite_number_is_left_out() -> None:
    drawn = colours(draw_curves({"loss": [(1, float("inf"))]}, "a run"))
    assert PAPER in drawn and COLOURS[0] not in drawn


def test_every_curve_has_a_colour_of_its_own_and_the_same_numbers_the_same_bytes() -> None:
    curves = {"loss": [(1, 3.0), (2, 2.0)], "heldout/loss": [(1, 3.5), (2, 2.5)]}
    assert set(COLOURS[:2]) <= colours(draw_curves(curves, "a run"))
    assert draw_curves(curves, "a run") == draw_curves(curves, "a run")


def test_losses_come_in_order_and_other_numbers_not_at_all() -> None:
    names = ["heldout/loss/text", "loss/text", "learning_rate", "heldout/loss", "loss", "loss_scale"]
    losses = sorted(filter(is_loss, names), key=order_of_losses)
    assert losses == ["loss", "heldout/loss", "loss/text", "heldout/loss/text"]
