"""The summaries of a model: all sections of each form, figures that their commands bear out, and marked blanks."""

import csv
import json
import shlex
import shutil
from pathlib import Path

import pytest

from pipelines.disclosure.eu import FORM, size_range
from tests.pipelines.conftest import NeoSite
from tests.pipelines.disclosure.test_domains import by_brute_force
from tests.worlds.web_world import WebRecipe

SECTIONS = ["1.1", "1.2", "1.3", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "3.1", "3.2", "3.3"]


def test_the_ranges_are_those_of_the_template() -> None:
    assert size_range("image", 999_999) == "less than 1 million images"
    assert size_range("image", 390_000_000) == "1 million to 1 billion images"
    assert size_range("image", 2e9) == "more than 1 billion images"
    assert size_range("text", 5e8) == "less than 1 billion tokens" and size_range("video", 2e4).startswith("10,000 to")


def test_every_section_stands_there_and_every_command_can_be_typed(web: NeoSite, tmp_path: Path) -> None:
    """Figures of the funnel are those of `neo show`; domains those of brute force, and all of them are in the CSV."""
    said = web.neo("disclose", "web/weights", "--eu", "--to", str(tmp_path / "out" / "eu.json"), "--json")
    assert said.code == 0, said.err
    document = json.loads((tmp_path / "out" / "eu.json").read_text())
    assert document["form"] == FORM and [section["number"] for section in document["sections"]] == SECTIONS
    entries = {entry["asked"]: entry for section in document["sections"] for entry in section["entries"]}
    assert said.json["blank"] == document["blank"] and len(document["blank"]) > 10
    assert all(entry["blank"] == (entry["answer"] is None) for entry in entries.values())
    assert entries["Images: size"]["answer"] == "less than 1 million images (240 pictures)"
    assert entries["Measures to respect reservations of rights"]["rows"] == [{"reason": "opt_out", "addresses": "60"}]
    assert entries["Latest date of acquisition"]["answer"].count("/") == 1
    expected = by_brute_force(WebRecipe())
    with (tmp_path / "out" / "eu.domains.csv").open() as file:
        assert [*csv.reader(file)][1:] == [[str(cell) for cell in one] for one in expected[:4]]  # 10% of 34
    assert [one["domain"] for one in entries["Domains by size of content"]["rows"]] == [one[0] for one in expected[:4]]
    queries = {entry["query"].replace("FILE", str(tmp_path / "again")) for entry in entries.values()} - {""}
    for query in sorted(queries):
        neo, *words = shlex.split(query)
        assert neo == "neo" and web.neo(*words).code == 0, query
    assert (tmp_path / "again.html").exists()


def test_small_enterprises_list_a_twentieth(web: NeoSite, tmp_path: Path) -> None:
    assert web.neo("disclose", "web/weights", "--eu", "--sme", "--to", str(tmp_path / "a.html")).code == 0
    assert (tmp_path / "a.domains.csv").read_text().count("\n") == 1 + 2
    page = (tmp_path / "a.html").read_text()
    assert page.count("Left blank") > 10 and "<script" not in page


def test_a_word_document_holds_the_same(web: NeoSite, tmp_path: Path) -> None:
    docx = pytest.importorskip("docx")
    assert web.neo("disclose", "web/weights", "--eu", "--to", str(tmp_path / "eu.docx")).code == 0
    document = docx.Document(str(tmp_path / "eu.docx"))
    headings = [one.text.split()[0] for one in document.paragraphs if one.style.name == "Heading 1"]
    assert headings == SECTIONS
    tables = [[cell.text for cell in row.cells] for table in document.tables for row in table.rows]
    assert ["domain", "bytes", "addresses"] in tables and ["opt_out", "60"] in tables


def test_california_asks_for_twelve_items(web: NeoSite, tmp_path: Path) -> None:
    document = web.neo("disclose", "web/weights", "--ab2013").json
    assert [section["number"] for section in document["sections"]] == [f"({number})" for number in range(1, 13)]
    answers = [section["entries"][0] for section in document["sections"]]
    assert answers[2]["answer"] == "240 items entered and were kept."
    assert [number for number, one in enumerate(answers, 1) if one["blank"]] == [2, 5, 6, 7, 8, 11]


def test_what_cannot_be_summed_up_is_refused_in_words(web: NeoSite, tmp_path: Path) -> None:
    assert "no model: summaries are of models" in web.neo("disclose", "web/pairs", "--eu").err
    assert web.neo("disclose", "web/weights", "--eu", "--to", str(tmp_path / "a.pdf")).code == 2
    assert web.neo("disclose", "web/weights", "--ab2013", "--sme").code == 2
    shutil.rmtree(web.artifact_folder("pairs", "web"))
    gone = web.neo("disclose", "web/weights", "--eu")
    assert gone.code == 3 and "no summary of the rest is made" in gone.err


@pytest.mark.parametrize("web", ["imported"], indirect=True)
def test_what_others_had_fetched_is_told_apart_and_its_domains_are_listed(web: NeoSite, tmp_path: Path) -> None:
    assert web.neo("disclose", "imported/weights", "--eu", "--to", str(tmp_path / "eu.json")).code == 0
    document = json.loads((tmp_path / "eu.json").read_text())
    entries = {entry["asked"]: entry for section in document["sections"] for entry in section["entries"]}
    assert entries["Whether crawlers were used"]["answer"].startswith("No step")
    assert "others had fetched it" in entries["Whether crawlers were used"]["note"]
    assert entries["Measures to respect reservations of rights"]["blank"]
    assert "Domains by size of content" not in entries and not (tmp_path / "eu.domains.csv").exists()
    shown = entries["Domains of what others had fetched, by size of content"]["rows"]
    with (tmp_path / "eu.others.domains.csv").open() as file:
        assert [row[0] for row in csv.reader(file)][1:] == [one["domain"] for one in shown]
