"""The report of a run: whole, alone, safe against what it shows, and no larger for more parts."""

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from pipelines.report import pictures
from pipelines.report.facts import RunFacts, read_facts
from pipelines.report.markup import MAX_TEXT_CHARS, Markup, esc, size, table
from pipelines.report.page import report_page
from pipelines.report.pictures import Embedder
from pipelines.runs.outbox import Message, Outbox
from pipelines.runs.run import all_runs
from stages.artifacts.records import ItemBalance
from stages.contract import CheckpointCommitted, NumbersReported, WarningPosted
from stages.store.store import Store
from tests.pipelines.conftest import TOYS, NeoSite

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m'


class Elements(HTMLParser):
    """Names, ids and addresses of all elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.sources: set[str] = set()
        self.handlers: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        for name, value in attrs:
            found = {"id": self.ids, "href": self.links, "src": self.sources}.get(name)
            if found is not None:
                found.add(value or "")
            if name.startswith("on"):
                self.handlers.add(name)


@pytest.fixture
def facts(site: NeoSite) -> RunFacts:
    assert site.neo("run", f"{TOYS}:scored").code == 0
    assert site.neo("run", f"{TOYS}:data").code == 0
    (run,) = (run for run in all_runs(site.store) if run.name.startswith("data-"))
    events = [
        NumbersReported(step="rows", numbers={"loss": 3.0 - step / 100, "seconds_per_step": 1.5}, at_step=step)
        for step in range(1, 4)
    ]
    hostile = [
        WarningPosted(step="rows", message=HOSTILE),
        NumbersReported(step="rows", numbers={f"loss/{HOSTILE}": 1.0}, at_step=4),
    ]
    message = Message(kind="events", attempt=1, events=(*events, *hostile, CheckpointCommitted(step="rows", at_step=3)))
    Outbox(run.store, run.name).append(message)
    return read_facts(run)


def test_a_report_shows_all_of_a_run_and_needs_nothing_else(facts: RunFacts) -> None:
    text = report_page(facts)
    page = Elements(text)
    for step in facts.request.steps:
        assert f"step-{step.name}" in page.ids
    assert page.links and all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert all(source.startswith("data:image/webp;base64,") for source in page.sources)
    assert {"overview", "steps", "timeline", "items", "training", "resources", "lineage", "warnings"} <= page.ids
    assert "loss on training rows" in text and "seconds a step" in text
    assert text == report_page(facts), "the same facts give the same bytes"


def test_what_comes_from_outside_stays_text(facts: RunFacts) -> None:
    head = facts.heads["kept"]
    items = ItemBalance(kept=1, dropped={HOSTILE: 2})
    heads = {**facts.heads, "kept": head.model_copy(update={"items": items, "rules": {HOSTILE: {HOSTILE: 1}}})}
    page = Elements(text := report_page(replace(facts, heads=heads, scores={HOSTILE: {HOSTILE: 1.0, "accuracy": 0.5}})))
    assert "script" not in page.names and not page.handlers
    assert "x" not in page.sources and "\x1b" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "default-src &#x27;none&#x27;" in text


@pytest.mark.parametrize("num_parts", [1, 39_000])
def test_a_report_grows_with_the_steps_and_not_with_their_parts(facts: RunFacts, num_parts: int) -> None:
    grown = {
        name: head.model_copy(
            update={"phases": tuple(one.model_copy(update={"num_parts": num_parts}) for one in head.phases)}
        )
        for name, head in facts.heads.items()
    }
    assert len(report_page(replace(facts, heads=grown))) < len(report_page(facts)) + 10_000


def test_a_run_that_has_not_begun_and_one_that_failed_can_be_read(site: NeoSite) -> None:
    assert site.neo("run", f"{TOYS}:broken_data").code == 1
    (run,) = all_runs(site.store)
    text = report_page(read_facts(run))
    assert "broke on purpose" in text and "not committed" in text and "failed" in text


def test_pictures_are_made_anew_within_a_budget(tmp_path: Path) -> None:
    store = Store(tmp_path)
    written = io.BytesIO()
    Image.effect_noise((2400, 300), 80).save(written, "PNG")
    store.create("big.png", written.getvalue() + b"<script>")
    store.create("bad.png", b"<script>alert(1)</script>")
    embedder = Embedder(store, budget_bytes=400_000)
    first = embedder.figure("big.png", HOSTILE)
    assert 'width="1200" height="150"' in first and "<script" not in first
    assert "cannot be read" in embedder.figure("bad.png", "bad")
    assert "cannot be read" in embedder.figure("gone.png", "gone")
    assert "not shown" in embedder.figure("big.png", "huge", pictures.MAX_SOURCE_BYTES + 1)
    embedder.budget_bytes = 100
    assert "to keep this page small" in embedder.figure("big.png", "late")


def test_pieces_of_markup() -> None:
    assert esc("<b>") == "&lt;b&gt;" and esc("x" * (MAX_TEXT_CHARS + 5)).endswith("x ... 5 characters more")
    assert re.findall("<td.*?</td>", table(("a", "b"), [("<i>", Markup("<b>1</b>"))], numbers=(1,))) == [
        "<td>&lt;i&gt;</td>",
        '<td class="n"><b>1</b></td>',
    ]
    assert [size(number) for number in (0, 999, 1_500, 3_400_000_000)] == ["0 B", "999 B", "1.5 kB", "3.4 GB"]


def test_the_command_writes_the_file_that_it_names(site: NeoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(site.folder)
    assert site.neo("run", f"{TOYS}:data").code == 0
    said = site.neo("report", "data", "--json")
    assert said.code == 0 and said.json["state"] == "done"
    assert Path(said.json["file"]).stat().st_size == said.json["size_bytes"]
    out = site.folder / "here.html"
    assert site.neo("report", said.json["run"], "--out", str(out)).code == 0
    assert out.read_text().startswith("<!doctype html>")
    assert site.neo("report", "data/rows").code == 2
    refused = site.neo("report", "data", "--out", str(site.folder / "none" / "here.html"))
    assert refused.code == 2 and "no folder" in refused.err
    assert site.neo("report", "data", "--out", str(site.folder)).code == 2
