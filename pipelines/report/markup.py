"""Pieces of HTML: escaped text, tables, links to steps, bars. Whatever a cell holds is escaped unless it is markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from pipelines.report.charts import step_anchor
from stages.artifacts.records import ItemBalance
from stages.surfaces.markup import markup_text
from stages.surfaces.visible import visible

MAX_TEXT_CHARS: Final = 2000
"""Characters of one text from outside that a page shows."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def esc(text: object) -> str:
    """Any value as text that is safe in a page, without control characters; long ones are cut, which is said."""
    whole = visible(str(text))  # whole: a cut through an address would leave its credentials unrecognized
    left_out = len(whole) - MAX_TEXT_CHARS
    return markup_text(whole[:MAX_TEXT_CHARS]) + (f" ... {left_out:,} characters more" if left_out > 0 else "")


def cell(value: object) -> str:
    """A value as the inside of a table's cell."""
    return value if isinstance(value, Markup) else esc(value)


def table(names: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[int] = ()) -> str:
    """A table that scrolls by itself where it is wider than the page; the columns in `numbers` are aligned right."""

    def line(tag: str, values: Sequence[object]) -> str:
        classes = [' class="n"' if place in numbers else "" for place in range(len(values))]
        return "".join(f"<{tag}{kind}>{cell(one)}</{tag}>" for kind, one in zip(classes, values, strict=True))

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    head = f"<thead><tr>{line('th', names)}</tr></thead>" if any(names) else ""
    return f'<div class="scroll{" lines" if len(names) > 2 else ""}"><table>{head}<tbody>{body}</tbody></table></div>'


def pairs(entries: Iterable[tuple[str, object]]) -> str:
    """A table of names and values, without those that are empty."""
    return table(("", ""), [(name, value) for name, value in entries if value not in ("", None)])


def step_link(step: str) -> Markup:
    """A link to a step's section."""
    return Markup(f'<a href="#{step_anchor(step)}">{esc(step)}</a>')


def code(text: str) -> Markup:
    """Text as it is typed."""
    return Markup(f"<code>{esc(text)}</code>")


def bar(items: ItemBalance) -> Markup:
    """How many of the items were kept, dropped and failed, as a bar; each that there is has a pixel at least."""
    numbers = {"kept": items.kept, "dropped": items.num_dropped, "failed": items.num_failed}
    parts = (
        f'<span class="{name}" style="flex:{number} 0 2px" title="{number:,} {name}"></span>'
        for name, number in numbers.items()
        if number
    )
    return Markup(f'<div class="bar">{"".join(parts)}</div>')


def size(num_bytes: float) -> str:
    """Bytes in words, such as `3.4 GB`."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:.1f} {unit}"
    return f"{num_bytes:.0f} B"
