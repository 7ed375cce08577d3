"""Charts of a report as SVG: metrics over optimizer steps, and what steps did over time.

Pure: plain values in, SVG text out. Colours are told apart by name as well, and every value can be read as a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeAlias

from pipelines.report.history import History, StepSpan
from pipelines.screen.progress import clock_time
from stages.surfaces.markup import markup_text

Points: TypeAlias = Sequence[tuple[int, float]]
_Scale: TypeAlias = Callable[[float], float]
WIDTH: Final = 460
HEIGHT: Final = 210
LEFT: Final = 58
RIGHT: Final = 12
TOP: Final = 26
BOTTOM: Final = 24
COLOURS: Final = ("#1f6fb2", "#c4581c", "#2a8a57", "#8a4fb0", "#a8871a", "#b03060", "#4a7c8c", "#6b6b6b")
ROW_PX: Final = 24
NAMES_PX: Final = 150
TIMELINE_PX: Final = 980
SPAN_COLOURS: Final = {"working": "#4c8fd0", "waiting": "#e3b64a", "queued": "#d98a3a"}
BAD: Final = {"failed": "#c0392b", "interrupted": "#8c96a5", "superseded": "#8c96a5", "killed": "#c0392b"}
WORDS: Final = {
    "working": "worked",
    "waiting": "waited for another run",
    "queued": "waited for machines",
}


def curves_svg(title: str, curves: Mapping[str, Points]) -> str:
    """Curves in one frame, with a legend of names and last values; '' where none has a point."""
    shown = {name: [point for point in points if math.isfinite(point[1])] for name, points in curves.items()}
    shown = {name: points for name, points in shown.items() if points}
    if not shown:
        return ""
    values = [value for points in shown.values() for _, value in points]
    steps = [step for points in shown.values() for step, _ in points]
    low, high = padded(min(values), max(values))
    first, last = min(steps), max(*steps, min(steps) + 1)
    height = HEIGHT + 17 * len(shown)

    def at(step: int, value: float) -> str:
        x = LEFT + (WIDTH - LEFT - RIGHT) * (step - first) / (last - first)
        y = TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)
        return f"{x:.1f} {y:.1f}"

    parts = [f'<text x="{LEFT}" y="16" class="t">{_text(title)}</text>']
    for number in range(5):
        value = low + (high - low) * number / 4
        y = TOP + (HEIGHT - TOP - BOTTOM) * (1 - number / 4)
        parts.append(f'<path class="g" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" class="e">{value:.3g}</text>')
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 6}">{first:,}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" class="e">step {last:,}</text>')
    for place, (name, points) in enumerate(shown.items()):
        colour = COLOURS[place % len(COLOURS)]
        y = HEIGHT + 12 + 17 * place
        way = "L".join(at(*point) for point in points)
        parts.append(f'<path d="M{way}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        if len(points) == 1:
            x, dot = at(*points[0]).split(" ")
            parts.append(f'<circle cx="{x}" cy="{dot}" r="3" fill="{colour}"/>')
        parts.append(f'<path d="M{LEFT} {y - 4}h16" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<text x="{LEFT + 22}" y="{y}">{_text(name)}: {points[-1][1]:.4g}</text>')
    return f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img">{"".join(parts)}</svg>'


def padded(low: float, high: float) -> tuple[float, float]:
    """The ends of an axis for values between these, never of no length.

    >>> padded(0.0, 0.0)
    (-0.5, 0.5)
    """
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        half = abs(high) / 10 or 0.5
        return low - half, high + half
    return low, high


def timeline_svg(history: History, steps: Sequence[str]) -> str:
    """What each step did over time, a row for each, with attempts as bands behind; '' where nothing is recorded."""
    spans = [span for name in steps if name in history.steps for span in history.steps[name].spans]
    times = [time for began, heard in history.attempts.values() for time in (began, heard)]
    times += [time for span in spans for time in (span.begin_seconds, span.end_seconds)]
    if not times:
        return ""
    begin, end = min(times), max(*times, min(times) + 1e-3)
    width = TIMELINE_PX - NAMES_PX

    def x(time: float) -> float:
        return NAMES_PX + width * (time - begin) / (end - begin)

    rows = [name for name in steps if name in history.steps and history.steps[name].spans]
    height = 40 + ROW_PX * len(rows)
    parts = list(_bands(history, x, height))
    parts += _times(begin, end, x, height)
    for number, name in enumerate(rows):
        y = 22 + ROW_PX * number
        parts.append(f'<a href="#{step_anchor(name)}"><text x="0" y="{y + 13}">{_text(_short(name))}</text></a>')
        parts += [_span(span, x, y) for span in history.steps[name].spans]
    return f'<svg class="wide" viewBox="0 0 {TIMELINE_PX} {height}" role="img">{"".join(parts)}</svg>'


def step_anchor(step: str) -> str:
    """The name of a step's section in the page: of letters, digits, `-` and `_` alone."""
    return "step-" + "".join(
        letter if letter.isascii() and letter.isalnum() else f"_{ord(letter):x}" for letter in step
    )


def spelled(seconds: float) -> str:
    """A Unix time in UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _bands(history: History, x: _Scale, height: int) -> Iterator[str]:
    for number, (began, ended) in sorted(history.attempts.items()):
        outcome = history.ends[number].outcome if number in history.ends else ""
        left, wide = x(began), max(1.0, x(ended) - x(began))
        told = f"attempt {number}, {spelled(began)} to {spelled(ended)}: {outcome or 'not ended'}"
        yield (
            f'<g><title>{_text(told)}</title><rect x="{left:.1f}" y="0" width="{wide:.1f}" height="{height - 18}" '
            f'fill="{("#f3f5f8", "#e9edf3")[number % 2]}"/></g>'
        )
        if wide > 60:
            yield f'<text x="{left + 4:.1f}" y="13" class="f">attempt {number}</text>'


def _times(begin: float, end: float, x: _Scale, height: int) -> Iterator[str]:
    for part in range(5):
        time = begin + (end - begin) * part / 4
        side = ("s", "m", "m", "m", "e")[part]
        yield f'<path class="g" d="M{x(time):.1f} 18V{height - 18}"/>'
        yield f'<text x="{x(time):.1f}" y="{height - 4}" class="{side}">{clock_time(time - begin)}</text>'


def _span(span: StepSpan, x: _Scale, y: int) -> str:
    seconds = span.end_seconds - span.begin_seconds
    told = f"{WORDS[span.doing]} {clock_time(seconds)} from {spelled(span.begin_seconds)}, attempt {span.attempt}"
    told += f": {span.what}" if span.what else ""
    told += f"; {span.outcome}" if span.outcome else ""
    colour = BAD.get(span.outcome, SPAN_COLOURS[span.doing])
    wide = max(1.5, x(span.end_seconds) - x(span.begin_seconds))
    bar = (
        f'<rect x="{x(span.begin_seconds):.1f}" y="{y + 2}" width="{wide:.1f}" height="{ROW_PX - 8}" fill="{colour}"/>'
    )
    return f"<g><title>{_text(told)}</title>{bar}</g>"


def _short(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:17]}..."


def _text(text: str) -> str:
    return markup_text(text)
