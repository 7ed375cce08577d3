"""Markdown as the reference pages need it: tables whose cells hold any text, and anchors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def cell(text: object) -> str:
    """A text as one cell of a table: on one line, with its bars and angle brackets escaped outside code."""
    words = " ".join(str(text).split()).replace("|", "\\|")
    pieces = words.split("`")
    pieces[::2] = [piece.replace("<", "&lt;").replace("*", "\\*") for piece in pieces[::2]]
    return "`".join(pieces)


def code(text: object) -> str:
    """A text as inline code; nothing for an empty one."""
    return f"`{text}`" if str(text) else ""


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with this head, a line for each row."""
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    lines += [f"| {' | '.join(map(cell, row))} |" for row in rows]
    return "\n".join(lines)


def page(title: str, *blocks: str) -> str:
    """A page with this title; empty blocks are left out."""
    return "\n\n".join([f"# {title}", *filter(None, blocks)]) + "\n"
