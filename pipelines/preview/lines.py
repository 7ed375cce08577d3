"""A preview as lines of a terminal. Pure: a preview and a width in, lines out.

Text that is shown comes from outside: control characters are removed, and long text is cut where it is shown.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from rich.text import Text

from pipelines.preview.items import Preview, PreviewItem, PreviewSpan, SpanRole
from pipelines.screen.console import clean

MAX_SPAN_LINES: Final = 8
"""Lines of one stretch of text; the rest is only counted."""
MAX_FIELD_CHARS: Final = 300
"""Characters of a value."""
MAX_NAME_CHARS: Final = 28
"""Characters of the name of a value."""
MAX_SPAN_CHARS: Final = 20_000
"""Characters of a stretch that are looked at."""
GUTTERS: Final = {SpanRole.GIVEN: "      | ", SpanRole.SUPERVISED: "learn | ", SpanRole.PICTURE: "      @ "}
"""What stands before the lines of a stretch: supervised text is told apart without colours."""
STYLES: Final = {SpanRole.GIVEN: "", SpanRole.SUPERVISED: "green", SpanRole.PICTURE: "magenta"}
VERDICT_STYLES: Final = {"kept": "green", "dropped": "yellow", "failed": "red"}


def preview_lines(preview: Preview, columns: int) -> Iterator[Text]:
    """The lines of a preview, none wider than `columns` characters."""
    yield from _wrapped(preview.title, columns, style="bold")
    yield from _named(preview.facts, columns, indent=0)
    for trouble in preview.troubles:
        yield from _wrapped(f"trouble: {one_line(trouble)}", columns, hanging=9, style="red")
    for item in preview.items:
        yield Text("")
        yield from _item(item, columns)


def _item(item: PreviewItem, columns: int) -> Iterator[Text]:
    yield from _wrapped(one_line(item.heading), columns, hanging=4, style="bold cyan")
    if item.verdict:
        yield from _wrapped(
            f"  {one_line(item.verdict)}", columns, style=VERDICT_STYLES.get(item.verdict.split(":")[0], "")
        )
    yield from _named(item.fields, columns, indent=2)
    for number, picture in enumerate(item.pictures, 1):
        yield from _wrapped(f"  picture {number}: {one_line(picture.about)}", columns, hanging=4, style="magenta")
    for number, strip in enumerate(item.strips, 1):
        yield from _wrapped(f"  strip {number}: {one_line(strip.told)}", columns, hanging=4, style="magenta")
    for span in item.spans:
        yield from _span(span, columns)


def _named(entries: Sequence[tuple[str, str]], columns: int, *, indent: int) -> Iterator[Text]:
    """Names and values in two columns."""
    names = [_cut(one_line(name), MAX_NAME_CHARS) for name, _ in entries]
    label = min(max(map(len, names), default=0) + 2, MAX_NAME_CHARS)
    for name, (_, value) in zip(names, entries, strict=True):
        shown = f"{' ' * indent}{name.ljust(label)}{_cut(one_line(value), MAX_FIELD_CHARS)}"
        yield from _wrapped(shown, columns, hanging=indent + label)


def _span(span: PreviewSpan, columns: int) -> Iterator[Text]:
    """A stretch of text behind its gutter; line breaks in it are kept."""
    gutter, style = GUTTERS[span.role], STYLES[span.role]
    text = f"{span.speaker}: {span.text}" if span.speaker else span.text
    shown = list(_broken(clean(text[:MAX_SPAN_CHARS]).replace("\t", "    "), columns - len(gutter)))
    for line in shown[:MAX_SPAN_LINES]:
        yield Text(gutter).append(line, style=style)
    if len(shown) > MAX_SPAN_LINES or len(text) > MAX_SPAN_CHARS:
        yield Text(gutter).append(f"... {len(text):,} characters in all", style="dim")


def _broken(text: str, columns: int) -> Iterator[str]:
    for line in text.split("\n"):
        yield from textwrap.wrap(line, columns, drop_whitespace=False, replace_whitespace=False) or [""]


def one_line(text: str) -> str:
    """Foreign text on one line, without control characters."""
    return clean(" ".join(text.split()))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _wrapped(text: str, columns: int, *, hanging: int = 0, style: str = "") -> Iterator[Text]:
    lines = textwrap.wrap(clean(text), columns, subsequent_indent=" " * hanging, break_on_hyphens=False)
    yield from (Text(line, style=style) for line in lines or [""])
