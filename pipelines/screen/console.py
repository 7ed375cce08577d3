"""A run on a screen: one line for each step, redrawn in place on a terminal; plain lines elsewhere.

Owns the console, and the rule that foreign text never reaches it with control characters or markup.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from pipelines.screen.plain_lines import PlainLines
from pipelines.screen.progress import Scoreboard, StepState, clock_time
from stages.contract import Event, WarningPosted
from stages.surfaces.visible import visible

REDRAWS_PER_SECOND = 4
WIDE_COLUMNS, BAR_COLUMNS = 60, 16
PLAIN_WIDTH = 160
"""Width of tables in a file or a pipe, in columns: wide enough that their lines are not broken."""
STYLES = {
    "waiting": "dim",
    "running": "bold cyan",
    "committed": "green",
    "reused": "green dim",
    "failed": "bold red",
    "interrupted": "yellow",
    "superseded": "yellow",
}


class SafeConsole(Console):
    """A console without markup that cleans whatever is printed on it: only its own styles and movements are obeyed."""

    def __init__(self, file: IO[str] | None = None, *, stderr: bool = False) -> None:
        super().__init__(file=file, stderr=stderr, highlight=False, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of a renderable. Those with control codes are rich's own, since text makes none.

        Text is cleaned before it is broken into lines, as half of a URL is not known for one; segments are, too, for
        what renders itself.
        """
        if isinstance(renderable, str):
            renderable = clean(renderable)
        elif isinstance(renderable, Text) and (shown := clean(renderable.plain)) != renderable.plain:
            renderable = renderable.copy()
            renderable.plain = shown
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(clean(segment.text), segment.style)


def open_console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr, without markup; 160 columns wide if it writes to a file or a pipe."""
    console = SafeConsole(stderr=stderr)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PLAIN_WIDTH
    return console


def clean(text: str) -> str:
    """Text of foreign origin without terminal escapes, other control characters, bytes that are no UTF-8, and
    credentials. What is measured before it is printed, as cells of tables are, should pass it first."""
    return visible(text)


def write_text(text: str, *, stderr: bool = False) -> None:
    """Write text as it is to stdout or stderr, with its line ends: what programs read, and what a driver logs."""
    stream = sys.stderr if stderr else sys.stdout
    stream.write(clean(text))
    stream.flush()


def replace_unwritable() -> None:
    """Have characters that the encoding of the terminal lacks written as `?`, as in a plain locale: none of them, such
    as a lane of a graph, ends a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


class Display:
    """Shows the progress of a run. `take` is called with every event, from any thread, and does not block."""

    def __init__(self, console: Console, board: Scoreboard) -> None:
        self.console = console
        self._board = board
        self._lines = PlainLines(board, self._print)

    def take(self, event: Event) -> None:
        """Update the board by an event, and print its line if there is no table on the screen."""
        self._board.take(event)
        if isinstance(event, WarningPosted) or not self.console.is_terminal:
            self._lines.take(event)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Show the run inside the block."""
        if self.console.is_terminal:
            with Live(
                console=self.console, get_renderable=self._table, refresh_per_second=REDRAWS_PER_SECOND, transient=True
            ):
                yield
            return
        with self._lines.now_and_then():
            yield

    def print_line(self, text: str) -> None:
        """A line of its own, above the table."""
        self.console.print(Text(clean(text)))

    def _print(self, line: str) -> None:
        self.console.print(Text(clean(line)), soft_wrap=True)

    def _table(self) -> Table:
        """A row for each step; on a narrow terminal its name and status alone."""
        is_wide = self.console.width >= WIDE_COLUMNS
        table = Table.grid(padding=(0, 2), expand=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        if is_wide:
            table.add_column(width=BAR_COLUMNS)
            table.add_column(justify="right", no_wrap=True)
            table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        with self._board.lock:
            for state in self._board.steps.values():
                more = self._details(state) if is_wide else ()
                table.add_row(state.name, Text(state.status, STYLES.get(state.status, "")), *more)
        return table

    def _details(self, state: StepState) -> tuple[ProgressBar | Text, str, Text]:
        elapsed = clock_time(self._board.elapsed_seconds(state)) if state.status != "waiting" else ""
        is_shown = state.status not in ("waiting", "reused") or state.waits_for
        words = self._board.line(state) if is_shown else ""
        return _bar(state), elapsed, Text(clean(words))


def _bar(state: StepState) -> ProgressBar | Text:
    share = state.share_done()
    if share is None:
        return Text("") if state.status != "running" else ProgressBar(total=None, width=BAR_COLUMNS, pulse=True)
    return ProgressBar(total=1.0, completed=share, width=BAR_COLUMNS)
