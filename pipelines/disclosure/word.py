"""A summary as a Word document (DOCX), in which people fill in what is left blank. By python-docx, an extra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pipelines.disclosure.summary import BLANK, Entry, PublicSummary
from pipelines.exits import RefusedError
from stages.surfaces.visible import visible

GRID: Final = "Table Grid"
"""Style of tables, which the library's own template has."""


def write_word(summary: PublicSummary, path: Path) -> None:
    """Write a summary to `path`. Raises `RefusedError` where the library is not installed."""
    try:
        import docx
    except ImportError as error:
        told = f"Word documents need the package python-docx, which is an extra ({error}); .html and .json need none"
        raise RefusedError(told, then="pip install 'neo-pipelines[evidence]'") from error
    document: Any = docx.Document()
    document.add_heading(visible(summary.form), level=0)
    document.add_paragraph(visible(f"About {summary.subject}. {len(summary.blanks)} answers are left blank."))
    for section in summary.sections:
        document.add_heading(visible(f"{section.number} {section.title}"), level=1)
        for entry in section.entries:
            _add(document, entry)
    document.save(str(path))


def _add(document: Any, entry: Entry) -> None:
    document.add_heading(visible(entry.asked), level=2)
    if entry.answer is None:
        document.add_paragraph().add_run(BLANK).italic = True
    else:
        document.add_paragraph(visible(entry.answer))
    if entry.rows:
        _add_table(document, entry.rows)
    if entry.note:
        document.add_paragraph(visible(entry.note))
    if entry.query:
        document.add_paragraph().add_run(visible(entry.query)).italic = True


def _add_table(document: Any, rows: Sequence[Sequence[str]]) -> None:
    """A table, its headings first. Rows are appended to it as a whole: cells are looked up in time that grows."""
    table = document.add_table(rows=len(rows), cols=len(rows[0]), style=GRID)
    cells = table._cells  # the property is computed anew at each access of a row
    for number, text in enumerate(text for row in rows for text in row):
        cells[number].text = visible(text)
