"""Sizes for people, and bars for work that is counted in bytes or files.

A bar is drawn on a terminal alone: a pipe or a log gets the sentence at the end of a command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, ProgressColumn, TimeRemainingColumn


@contextmanager
def bytes_bar(console: Console, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """A bar for `total_bytes` within this context; call what it gives with each number of bytes, from any thread."""
    with _bar(console, total_bytes, DownloadColumn()) as told:
        yield told


@contextmanager
def items_bar(console: Console, num_items: int) -> Iterator[Callable[[int], None]]:
    """A bar for so many files or other items, like `bytes_bar`."""
    with _bar(console, num_items, MofNCompleteColumn()) as told:
        yield told


@contextmanager
def _bar(console: Console, total: int, column: ProgressColumn) -> Iterator[Callable[[int], None]]:
    bar = Progress(
        BarColumn(), column, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    )
    with bar:
        work = bar.add_task("", total=total)
        yield lambda advance: bar.advance(work, advance)


def size_in_words(num_bytes: int) -> str:
    """Bytes for people: `12.3 MB`."""
    size, unit = float(num_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{num_bytes:,} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
