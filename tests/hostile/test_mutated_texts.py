"""Texts by number on every surface: nothing of them is obeyed, hidden or live, and what is shown stays bounded."""

import csv
import io
import json
import re

import pytest
from rich.cells import cell_len
from rich.panel import Panel
from rich.table import Table

from pipelines.screen.console import SafeConsole, clean
from pipelines.screen.documents import as_json, spelled
from pipelines.screen.text_table import TextTable, sentence
from stages.contract import StepEnded, WarningPosted
from stages.drawing.words import drawable, wide_font, wrapped
from stages.surfaces.credentials import without_credentials
from stages.surfaces.csv_tables import write_csv
from stages.surfaces.markdown import code, escaped, table
from stages.surfaces.markup import markup_text
from stages.surfaces.visible import MAX_CHARS, UNSHOWN, bounded, floods, visible
from tests.hostile.mutated_texts import mutated
from tests.stages.surfaces.test_markdown import PLAIN, RENDERER, kinds
from tests.stages.surfaces.test_markup import Seen

WIDTH = 80
STYLES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
"""What rich itself writes on a terminal."""
SECRETS = ("hunter2@", "token=hunter2", "Signature=hunter2")


def check_shown(shown: str) -> None:
    """What reaches a surface holds nothing that is obeyed or hidden, no flood and no credential."""
    assert not UNSHOWN.search(shown) and not floods().search(shown)
    assert not [secret for secret in SECRETS if secret in shown]


def check_terminal(text: str) -> None:
    """Printed, in a panel, in a table of rich and in one of ours, on 80 columns and in a pipe."""
    for is_terminal in (True, False):
        out = io.StringIO()
        console = SafeConsole(out)
        console._force_terminal, console.width = is_terminal, WIDTH
        grid = Table("a", "b", title=text[:500])
        grid.add_row(text, "b")
        console.print(text, Panel(text), grid, sep="\n")
        shown = STYLES.sub("", out.getvalue())
        check_shown(shown.replace("\r", ""))
        assert max(cell_len(line) for line in shown.split("\n")) <= WIDTH
        assert len(shown) < 1000 * (10 + text.count("\n")) + 60 * len(text)
    ours = TextTable("name", sentence("why"))
    ours.add(clean(text), clean(text))
    ours.add("next", "row")
    in_a_pipe = [line.plain for line in ours.lines(None)]
    assert len(in_a_pipe) == 3 and in_a_pipe[2].split() == ["next", "row"]
    for line in (*in_a_pipe, *(line.plain for line in ours.lines(WIDTH))):
        check_shown(line)


def check_pages(text: str) -> None:
    """In HTML between tags and in attributes, in a sentence, in code and in a table of Markdown."""
    seen = Seen()
    seen.feed(f"<p title=\"{markup_text(text)}\" lang='{markup_text(text)}'>{markup_text(text)}</p>")
    seen.close()
    assert seen.tags == [("p", [("title", visible(text)), ("lang", visible(text))])] and seen.text == visible(text)
    check_shown(markup_text(text).replace("&quot;", '"').replace("&#x27;", "'").replace("&amp;", "&"))
    assert kinds(f"A {escaped(text)} b") <= PLAIN
    cells = RENDERER.parse(table(("a", "b"), [(code(text), escaped(text))]))
    assert [token.type for token in cells].count("td_open") == 2
    for written in (escaped(text).replace("\\", ""), code(text)):
        assert "\n" not in written
        check_shown(written)


def check_files(text: str) -> None:
    """In CSV, in JSON for programs, and in what is recorded of an error."""
    file = io.StringIO()
    write_csv(file, ("name", text), [(text, 1)])
    names, row = csv.reader(io.StringIO(file.getvalue()))
    assert names[1] == row[0] and row[1] == "1"
    check_shown(row[0].replace("'", ""))
    document = spelled(as_json({"caption": text}))
    check_shown(document)
    assert json.loads(document) == {"caption": without_credentials(text)}
    for kept in (
        StepEnded(step="a", outcome="failed", reason=text).reason,
        WarningPosted(step="a", message=text).message,
    ):
        assert len(kept) < MAX_CHARS + 40 and not [secret for secret in SECRETS if secret in kept]
        assert bounded(kept) == kept


def check_drawing(text: str) -> None:
    """On a picture: as many lines as there is room for, none of them wider."""
    drawn = drawable(text)
    assert len(drawn) <= 400 and not UNSHOWN.search(drawn)
    lines = list(wrapped(drawn, 12, 300, 3, wide_font))
    assert len(lines) <= 3 and all(wide_font(12).getlength(line) <= 300 for line in lines)


def check(first: int, stop: int) -> None:
    """Try the texts of a range of numbers on every surface; an error says which it was."""
    for number in range(first, stop):
        text = mutated(number)
        try:
            check_shown(visible(text))
            for surface in (check_terminal, check_pages, check_files, check_drawing):
                surface(text)
        except Exception as error:
            raise AssertionError(f"text {number}: {error!r:.500}") from error


def test_no_surface_obeys_a_text() -> None:
    check(0, 30)


@pytest.mark.long
def test_no_surface_obeys_two_thousand_texts() -> None:
    check(30, 2030)
