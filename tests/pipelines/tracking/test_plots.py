"""Curves are drawn whatever the numbers: one point, equal values, gaps, none; and what is drawn is what was given."""

import io

import pytest
from PIL import Image

from pipelines.tracking.page_contents import is_loss, order_of_losses
from pipelines.tracking.plots import DOTS_PER_INCH, HEIGHT_INCHES, WIDTH_INCHES, curve_figure, draw_curves


@pytest.mark.parametrize(
    ("curve", "drawn"),
    [
        ([(10, 2.0)], [[10, 2.0]]),
        ([(10, 0.0), (20, 0.0)], [[10, 0.0], [20, 0.0]]),
        ([(10, 1e-9), (20, 1e9)], [[10, 1e-9], [20, 1e9]]),
        ([(1, float("nan")), (2, 3.0)], [[2, 3.0]]),
        ([(5, -1.0), (5, 1.0)], [[5, -1.0], [5, 1.0]]),
    ],
)
def test_any_finite_numbers_make_a_curve(curve: list[tuple[int, float]], drawn: list[list[float]]) -> None:
    (line,) = curve_figure({"loss": curve}, "a run").axes[0].lines
    assert line.get_xydata().tolist() == drawn
    with Image.open(io.BytesIO(draw_curves({"loss": curve}, "a run"))) as image:
        assert image.size == (WIDTH_INCHES * DOTS_PER_INCH, HEIGHT_INCHES * DOTS_PER_INCH)


def test_what_has_no_finite_number_is_left_out() -> None:
    figure = curve_figure({"loss": [(1, float("inf"))]}, "a run")
    assert not figure.axes[0].lines and not figure.legends


def test_a_plot_names_the_run_the_axis_and_every_curve_with_its_last_value() -> None:
    curves = {"loss": [(1, 3.0), (2, 2.0)], "heldout/loss": [(1, 3.5), (2, 2.71828)]}
    figure = curve_figure(curves, "tiny-12345678, mid: nats per token weight")
    axes, (legend,) = figure.axes[0], figure.legends
    assert axes.get_title(loc="left") == "tiny-12345678, mid: nats per token weight"
    assert axes.get_xlabel() == "step"
    assert [text.get_text() for text in legend.get_texts()] == ["loss 2", "heldout/loss 2.718"]
    assert len({line.get_color() for line in axes.lines}) == 2


def test_nothing_that_is_written_on_a_plot_lies_outside_it_or_on_the_curves() -> None:
    names = ["loss", "heldout/loss", "heldout/loss/a-source-with-a-long-name"]
    figure = curve_figure({name: [(1, 3.0), (2000, 2.0)] for name in names}, "a run, a step: nats per token weight")
    figure.canvas.draw()
    frame, (legend,) = figure.axes[0].get_window_extent(), figure.legends
    written = [figure.axes[0].xaxis.label, *legend.get_texts()]
    for text in written:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, text
    assert all(text.get_window_extent().x0 >= frame.x1 for text in legend.get_texts())


def test_losses_come_in_order_and_other_numbers_not_at_all() -> None:
    names = ["heldout/loss/text", "loss/text", "learning_rate", "heldout/loss", "loss", "loss_scale"]
    losses = sorted(filter(is_loss, names), key=order_of_losses)
    assert losses == ["loss", "heldout/loss", "loss/text", "heldout/loss/text"]
