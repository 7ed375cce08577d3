"""The table that every command prints: whole on any screen, since columns go before content does.

Owns how columns share the width of a terminal. Ids, numbers, names and paths are never cut and never broken inside;
sentences are broken between words. Where the terminal is too narrow, columns are left out in the order that they state,
and a line under the table says which. Then a last column of sentences moves below its rows. Without a terminal nothing
is left out and nothing is broken, and the lines of a cell stand behind each other, so that each row is one line that
can be searched for. A file or a pipe is no terminal, whatever `FORCE_COLOR` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal, TypeAlias

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group
from rich.text import Text

from pipelines.screen.console import clean

Cell: TypeAlias = str | Text | int | None
"""What a column holds in a row. Numbers are written with thousands apart, and None as nothing."""
GAP = "  "
LEAST_SENTENCE_COLUMNS = 28
"""A column of sentences that gets less room moves below its rows."""
INDENT = " " * 4
"""Before sentences that moved below their row."""
LABEL = re.compile(r" +\S+(?: \S+)?(?: {2,}|: +)")
"""A label at the beginning of an indented line, as in `  folder      /home/...`."""
WORD = re.compile(r"`[^`]*`\S*|\S+")
"""What is not broken: a word, or a command in backticks."""


@dataclass(frozen=True)
class Column:
    """A column: what stands over it, what it holds, and when it goes."""

    heading: str
    holds: Literal["name", "number", "sentence", "lanes"] = "name"
    """A name is never broken; nor is a number, which stands at the right. A sentence is broken between words. Of lanes
    the first line is drawn beside the row, and the second beside all further lines of it."""
    goes: int = 0
    """When it is left out on a narrow screen: 1 goes first, then 2. 0 stays."""


def number(heading: str, goes: int = 0) -> Column:
    """A column of numbers, or of what is compared like them."""
    return Column(heading, "number", goes)


def sentence(heading: str, goes: int = 0) -> Column:
    """A column of sentences."""
    return Column(heading, "sentence", goes)


class TextTable:
    """Rows under headings. Prints itself at the width of the console, or whole where there is no terminal."""

    def __init__(self, *columns: Column | str, has_headings: bool = True) -> None:
        """A heading alone is a column of names."""
        self.columns = tuple(Column(one) if isinstance(one, str) else one for one in columns)
        self._has_headings = has_headings
        self._rows: list[tuple[Text, ...]] = []
        self._widths = [0] * len(self.columns)
        self._longest_words = [0] * len(self.columns)

    def add(self, *cells: Cell) -> None:
        """Add a row. Missing cells at its end are empty."""
        missing = len(self.columns) - len(cells)
        if missing < 0:
            raise ValueError(f"{len(cells)} cells for {len(self.columns)} columns")
        row = tuple(map(_text, (*cells, *[None] * missing)))
        self._rows.append(row)
        for index, text in enumerate(row):
            lines = _lines(text)[: 1 if self.columns[index].holds == "lanes" else None]
            self._widths[index] = max(self._widths[index], *(line.cell_len for line in lines))
            words = (cell_len(word) for word in text.plain.split())
            self._longest_words[index] = max(self._longest_words[index], *words, 0)

    @property
    def num_rows(self) -> int:
        """How many rows were added."""
        return len(self._rows)

    def cells(self, column: int) -> list[str]:
        """What a column holds, from the top."""
        return [row[column].plain for row in self._rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        yield from self.lines(options.max_width if _is_on_terminal(console) else None)

    def lines(self, width: int | None) -> list[Text]:
        """The table in so many columns of a terminal; None for no terminal. Columns that are empty are not shown."""
        return (self if width else self._joined())._lines_of_rows(width)

    def _joined(self) -> TextTable:
        """The same rows, each of which is one line."""
        if all("\n" not in text.plain for row in self._rows for text in row):
            return self
        joined = TextTable(*self.columns, has_headings=self._has_headings)
        for row in self._rows:
            joined.add(
                *(
                    _lines(text)[0] if column.holds == "lanes" else _one_line(text)
                    for column, text in zip(self.columns, row, strict=True)
                )
            )
        return joined

    def _lines_of_rows(self, width: int | None) -> list[Text]:
        shown = self._fitting([index for index in range(len(self.columns)) if self._is_filled(index)], width)
        below: list[int] = []
        widths = self._shared(shown, width)
        if widths is None:
            below = [index for index in shown if self.columns[index].holds == "sentence"]
            others = [index for index, column in enumerate(self.columns) if column.holds != "sentence"]
            shown = self._fitting([index for index in others if self._is_filled(index)], width)
            widths = {index: self._width(index) for index in shown}
        lines = list(self._laid_out(widths, below, width))
        left_out = {*range(len(self.columns))} - {*shown, *below}
        if named := [self.columns[index].heading for index in sorted(left_out) if self._is_filled(index)]:
            note = f"Not shown in {width} columns: {', '.join(named)}. A wider terminal or --json has them."
            lines += wrapped(Text(note, "dim"), width)
        return [_unbroken(line) for line in lines]

    def _fitting(self, wanted: Sequence[int], width: int | None) -> list[int]:
        """Those of the columns that a screen has room for: the others go in their order, until no more may."""
        shown = list(wanted)
        while width is not None and self._least_width(shown) > width:
            going = [index for index in shown if self.columns[index].goes]
            if not going:
                break
            shown.remove(min(going, key=lambda index: self.columns[index].goes))
        return shown

    def _is_filled(self, index: int) -> bool:
        return not self._rows or self._widths[index] > 0

    def _width(self, index: int) -> int:
        """Of the widest line in a column."""
        return max(cell_len(self.columns[index].heading) if self._has_headings else 0, self._widths[index])

    def _least_width(self, shown: Sequence[int]) -> int:
        """What these columns need, sentences broken as far as they are with ease. Longer words do not count: their
        column then moves below the rows."""
        widths = map(self._width, shown)
        least = (
            min(width, LEAST_SENTENCE_COLUMNS) if self.columns[index].holds == "sentence" else width
            for index, width in zip(shown, widths, strict=True)
        )
        return sum(least) + len(GAP) * (len(shown) - 1)

    def _laid_out(self, widths: dict[int, int], below: Sequence[int], width: int | None) -> Iterator[Text]:
        """The heading, and each row with the sentences that moved below it."""
        if self._has_headings and any(self.columns[index].heading for index in widths):
            headings = {index: [Text(self.columns[index].heading, "bold")] for index in widths}
            yield from self._side_by_side(headings, widths)
        for row in self._rows:
            cells = {index: wrapped(row[index], wide if width else None) for index, wide in widths.items()}
            yield from self._side_by_side(cells, widths)
            for line in (line for index in below if row[index] for line in wrapped(row[index], _within(width))):
                yield Text(INDENT).append_text(line)

    def _shared(self, shown: Sequence[int], width: int | None) -> dict[int, int] | None:
        """The widths of columns side by side; None if sentences have too little room for that."""
        widths = {index: self._width(index) for index in shown}
        if width is None:
            return widths
        sentences = [index for index in shown if self.columns[index].holds == "sentence"]
        others = sum(widths[index] for index in shown if index not in sentences)
        room = width - others - len(GAP) * (len(shown) - 1)
        for left, index in zip(range(len(sentences), 0, -1), sorted(sentences, key=widths.__getitem__), strict=True):
            widths[index] = min(widths[index], room // left)
            room -= widths[index]
            needed = min(self._width(index), max(LEAST_SENTENCE_COLUMNS, self._longest_words[index]))
            if widths[index] < needed:
                return None
        return widths

    def _side_by_side(self, cells: dict[int, list[Text]], widths: dict[int, int]) -> Iterator[Text]:
        """The lines of a row."""
        lanes = {index for index in cells if self.columns[index].holds == "lanes"}
        height = max((len(lines) for index, lines in cells.items() if index not in lanes), default=1)
        for number_of_line in range(height):
            line = Text()
            for index, lines in cells.items():
                at = min(number_of_line, len(lines) - 1) if index in lanes else number_of_line
                text = lines[at].copy() if at < len(lines) else Text()
                spare = widths[index] - text.cell_len
                stands_right = self.columns[index].holds == "number"
                line.append_text(Text(" " * spare if stands_right else "").append_text(text))
                line.append("" if stands_right else " " * spare).append(GAP)
            line.rstrip()
            yield line


def print_whole(console: Console, thing: Any) -> None:
    """Print a table or a text: nothing is cut, and on a terminal lines are broken between words alone."""
    if isinstance(thing, Text):
        width = console.width if _is_on_terminal(console) else None
        thing = Group(*(_unbroken(line) for line in wrapped(thing, width)))
    console.print(thing, soft_wrap=isinstance(thing, Group | TextTable))


def _is_on_terminal(console: Console) -> bool:
    """Whether a person reads it. The console alone says so of a pipe too, where colour is forced."""
    return console.is_terminal and is_screen(console.file)


def is_screen(file: IO[str]) -> bool:
    """Whether what is written to a file goes to a terminal, not to a file or a pipe."""
    return file.isatty()


def wrapped(text: Text, width: int | None) -> list[Text]:
    """A text in lines of so many columns that are broken between words alone; None breaks none.

    What is longer than a line stays whole. A line after a break is indented as the one before it and two more, or as
    what stands beside a label.

    >>> [line.plain for line in wrapped(Text("made of 012a9627c695 and others"), 12)]
    ['made of', '012a9627c695', 'and others']
    """
    lines = _lines(text)
    if width is None:
        return lines
    return [piece for line in lines for piece in (_pieces(line, width) if line.cell_len > width else [line])]


def _pieces(line: Text, width: int) -> Iterator[Text]:
    plain = line.plain
    margin, begin, end = "", 0, 0
    for word_begin, word_end in _words(plain, width):
        is_full = cell_len(margin + plain[begin:word_end]) > width
        if is_full and plain[begin:end].strip():
            yield Text(margin).append_text(line[begin:end])
            margin, begin = _margin(plain, width), word_begin
        end = word_end
    yield Text(margin).append_text(line[begin:end])


def _margin(plain: str, width: int) -> str:
    """What stands before the further lines of a line that is broken."""
    labelled = LABEL.match(plain)
    if labelled and labelled.end() <= width // 2:
        return " " * labelled.end()
    indent = len(plain) - len(plain.lstrip())
    return " " * (indent + 2) if 0 < indent <= width // 2 else ""


def _words(plain: str, width: int) -> Iterator[tuple[int, int]]:
    """Begin and end of what is not broken."""
    for found in WORD.finditer(plain):
        if found.end() - found.start() <= width // 2:
            yield found.span()
        else:
            start = found.start()
            yield from ((start + one.start(), start + one.end()) for one in re.finditer(r"\S+", found[0]))


def _within(width: int | None) -> int | None:
    """The columns beside the indent of sentences below a row."""
    return None if width is None else width - len(INDENT)


def _text(cell: Cell) -> Text:
    if isinstance(cell, Text):
        return Text(clean(cell.plain), cell.style, spans=cell.spans)
    return Text(f"{cell:,}" if isinstance(cell, int) else clean(cell or "").expandtabs())


def _lines(text: Text) -> list[Text]:
    return list(text.split("\n", allow_blank=True)) if text.plain else [Text()]


def _one_line(text: Text) -> Text:
    """The lines of a text behind each other."""
    if "\n" not in text.plain:
        return text
    return Text("; ").join(line for line in _lines(text) if line.plain.strip())


def _unbroken(line: Text) -> Text:
    line.no_wrap, line.overflow = True, "ignore"
    return line
