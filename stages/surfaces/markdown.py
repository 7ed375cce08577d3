"""Writes Markdown in which no text of others can be markup: tables, code spans, escaped lines.

Titles, names of sources, reasons, licences and languages come from people and from the web. In a table or a sentence
they stand as code, of which no renderer makes links, pictures or HTML; a title is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from stages.surfaces.credentials import without_credentials
from stages.surfaces.visible import UNSHOWN, floods

_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>&|~$#!])")
"""Characters that begin markup, HTML, a formula or an entity somewhere in a line."""
_BLOCK: Final = re.compile(r"^(\d+(?=[.)])|(?=[-+=:]))")
"""What stands before a character that begins a list, a rule or a heading at the start of a line: digits, or nothing."""
_LEFT_OUT: Final = re.compile(f"(?![\t-\r\u2028\u2029]){UNSHOWN.pattern}|[\u200c\u200d]")
"""Characters of which nothing stays in a line, not even a mark: those that no surface shows, and joiners."""


def one_line(text: str) -> str:
    """The text on one line, without characters that cannot be seen."""
    plain = " ".join(_LEFT_OUT.sub("", without_credentials(text)).split())
    return plain if plain.isascii() else floods().sub(r"\1", plain)


def escaped(text: str) -> str:
    """The text as it is, on one line, with nothing in it that is markup.

    >>> print(escaped("A <b>bold</b> [link](x)"))
    A \\<b\\>bold\\</b\\> \\[link\\](x)
    """
    return _BLOCK.sub(r"\1\\", _MARKUP.sub(r"\\\1", one_line(text)))


def code(text: str) -> str:
    """The text as code, on one line, in as many backticks as it needs.

    >>> print(code("a `b`"))
    `` a `b` ``
    """
    plain = one_line(text) or " "
    longest = max((len(run) for run in re.findall("`+", plain)), default=0)
    fence, space = "`" * (longest + 1), " " if plain[0] == "`" or plain[-1] == "`" else ""
    return f"{fence}{space}{plain}{space}{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that hold Markdown; a `|` in them is escaped, which holds inside code as well."""
    return "".join(_lines([head, ["---"] * len(head), *rows]))


def _lines(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in rows:
        cells = (re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in row)
        yield f"| {' | '.join(cells)} |\n"
