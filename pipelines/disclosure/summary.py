"""A summary for the public: sections of questions with answers, each with the command that its figures come from.

Owns its shape, as JSON and as one HTML page. What the store cannot know is left blank and marked; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from stages.surfaces.markup import markup_text

BLANK: Final = "Left blank: the store cannot know this. To be stated by the provider."


@dataclass(frozen=True)
class Entry:
    """One question of a form."""

    asked: str
    """What the form asks for, in our words."""
    answer: str | None = None
    """A sentence or figure; None where the store cannot know it."""
    query: str = ""
    """The command that the figures come from; '' for an answer without any."""
    rows: Sequence[Sequence[str]] = ()
    """A table below the answer, its headings first."""
    note: str = ""
    """What somebody has to know to read the answer."""

    @property
    def is_blank(self) -> bool:
        """Whether somebody has to fill it in."""
        return self.answer is None


@dataclass(frozen=True)
class FormSection:
    """A section of a form, with its number there."""

    number: str
    """Number in the form, such as `2.3`."""
    title: str
    """Title of the section, in our words."""
    entries: Sequence[Entry] = field(default_factory=tuple)
    """Questions in the order of the form."""


@dataclass(frozen=True)
class PublicSummary:
    """A form that was filled in as far as the store knows."""

    form: str
    """What form it is, with its version."""
    subject: str
    """What it is about: stage and fingerprint of a model."""
    sections: Sequence[FormSection]
    """Sections in the order of the form."""

    @property
    def blanks(self) -> list[str]:
        """Number and question of each entry that has to be filled in."""
        return [
            f"{section.number} {entry.asked}"
            for section in self.sections
            for entry in section.entries
            if entry.is_blank
        ]

    def document(self) -> dict[str, Any]:
        """The summary as JSON."""
        return {
            "form": self.form,
            "subject": self.subject,
            "sections": [
                {
                    "number": section.number,
                    "title": section.title,
                    "entries": [_entry(entry) for entry in section.entries],
                }
                for section in self.sections
            ],
            "blank": self.blanks,
        }

    def page(self) -> str:
        """The summary as one HTML page, which needs no other file and prints well."""
        body = "".join(_section(section) for section in self.sections)
        told = f"<p>About <code>{markup_text(self.subject)}</code>. {len(self.blanks)} answers are left blank.</p>"
        title = markup_text(self.form)
        return f"{_HEAD.format(title=title)}<h1>{title}</h1>{told}{body}</body></html>\n"


def _entry(entry: Entry) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "asked": entry.asked,
        "answer": entry.answer,
        "blank": entry.is_blank,
        "query": entry.query,
    }
    if entry.rows:
        headings, *rows = entry.rows
        shown["rows"] = [dict(zip(headings, row, strict=True)) for row in rows]
    return {**shown, "note": entry.note} if entry.note else shown


def _section(section: FormSection) -> str:
    rows = "".join(_row(entry) for entry in section.entries)
    return f"<h2>{markup_text(section.number)} {markup_text(section.title)}</h2><table class='form'>{rows}</table>"


def _row(entry: Entry) -> str:
    if entry.answer is None:
        told = f"<em>{BLANK}</em>"
    else:
        told = "<br>".join(markup_text(line) for line in entry.answer.splitlines())
    told += _table(entry.rows) if entry.rows else ""
    told += f"<p class='note'>{markup_text(entry.note)}</p>" if entry.note else ""
    told += f"<p class='query'><code>{markup_text(entry.query)}</code></p>" if entry.query else ""
    kind = " class='blank'" if entry.is_blank else ""
    return f"<tr{kind}><th>{markup_text(entry.asked)}</th><td>{told}</td></tr>"


def _table(rows: Sequence[Sequence[str]]) -> str:
    headings, *others = rows
    lines = [_cells("th", headings), *(_cells("td", row) for row in others)]
    return f"<table class='rows'>{''.join(lines)}</table>"


def _cells(kind: str, cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{kind}>{markup_text(cell)}</{kind}>" for cell in cells) + "</tr>"


_HEAD: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
h1 {{ font-size: 1.5rem; }} h2 {{ font-size: 1.1rem; margin-top: 2rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; vertical-align: top; padding: .35rem .5rem; overflow-wrap: anywhere; }}
.form > tbody > tr > th {{ width: 32%; font-weight: 600; }} .form, .form > tbody > tr > * {{ border: 1px solid #bbb; }}
.rows {{ margin: .4rem 0; font-size: .9em; }} .rows th, .rows td {{ border-bottom: 1px solid #ddd; }}
.blank td {{ background: #fff3d6; }} .note, .query {{ color: #555; margin: .3rem 0; }}
code {{ overflow-wrap: anywhere; font-size: .85em; }}
</style></head><body>
"""
