"""A summary escapes what others wrote, and says what is blank."""

from pathlib import Path

import pytest

from pipelines.disclosure.summary import Entry, FormSection, PublicSummary
from pipelines.disclosure.word import write_word

HOSTILE = "<b onclick='x()'>&\x01"
SUMMARY = PublicSummary(
    "Form",
    "stage/abc",
    [
        FormSection(
            "1", HOSTILE, [Entry(HOSTILE), Entry("Told", HOSTILE, "neo show x", [("a", "b"), (HOSTILE, "2")], HOSTILE)]
        )
    ],
)


def test_a_page_escapes_all_text() -> None:
    page = SUMMARY.page()
    assert "<b onclick" not in page and page.count("&lt;b onclick") == 5 and page.count("Left blank") == 1
    assert SUMMARY.blanks == [f"1 {HOSTILE}"]


def test_a_document_has_rows_by_heading() -> None:
    blank, told = SUMMARY.document()["sections"][0]["entries"]
    assert blank == {"asked": HOSTILE, "answer": None, "blank": True, "query": ""}
    assert told["rows"] == [{"a": HOSTILE, "b": "2"}] and told["note"] == HOSTILE and not told["blank"]


def test_word_takes_any_text(tmp_path: Path) -> None:
    docx = pytest.importorskip("docx")
    write_word(SUMMARY, tmp_path / "a.docx")
    read = docx.Document(str(tmp_path / "a.docx"))
    assert any("<b onclick='x()'>&" in one.text for one in read.paragraphs) and len(read.tables) == 1
