"""`neo retry`: what failed is fetched again, the rest stays; reports, audits and repairs know where a row stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines.exposure.asked import of_part, part_names
from pipelines.exposure.holds import Doubts
from pipelines.lineage.graph import all_nodes
from stages.artifacts.kinds import PAIRS_FILE, VERDICTS_FILE, KeptPairs
from stages.artifacts.manifest import read_manifest
from stages.artifacts.records import FileEntry
from tests.pipelines.conftest import NeoSite
from tests.worlds.flaky_web import FlakyWeb
from tests.worlds.lossy_download import lossy_download


@dataclass
class Downloaded:
    """A run whose download lost one of ten rows to a server error; the server answers all now."""

    site: NeoSite
    web: FlakyWeb
    pipeline: str

    def step(self, plan: dict[str, Any], name: str) -> dict[str, Any]:
        return next(step for step in plan["steps"] if step["name"] == name)

    def entry(self, step: str, part: str, file: str) -> FileEntry:
        """A file of an artifact of the newest run."""
        ref = self.site.neo("show", f"own/{step}", "--json").json
        manifest = read_manifest(self.site.store, ref["stage"], ref["fingerprint"])
        assert manifest is not None
        return next(one for one in manifest.parts if one.part == part and one.files[0]).file(file)


@pytest.fixture
def run(site: NeoSite, tmp_path: Path) -> Iterator[Downloaded]:
    with lossy_download(site, tmp_path) as (web, pipeline):
        yield Downloaded(site, web, pipeline)


def test_what_failed_is_fetched_and_the_rest_is_taken_over(run: Downloaded) -> None:
    site, asked = run.site, run.web.asked.copy()
    plan = site.neo("retry", "own/pairs", "--plan", "--json").json
    assert [(step["name"], step["action"], step["num_taken"]) for step in plan["steps"]] == [
        ("pairs", "reuse", 0),
        ("pairs_retry1", "make", 4),
        ("kept", "make", 4),
    ]
    assert run.step(plan, "kept")["reads"] == {"raw": "pairs_retry1"} and run.web.asked == asked

    told = site.neo("retry", "own/pairs", "--reasons", "server_error", "--json")
    assert told.code == 0, told
    assert run.web.asked - asked == dict.fromkeys((3, 13, 23, 33), 1)
    assert "taken over  4 parts of filter_pairs/" in site.neo("show", "own/kept").out
    kept = site.neo("show", "own/kept", "--json").json
    assert kept["items"]["kept"] == 36

    nodes = {node.short: node for node in all_nodes(site.store)}
    judged = [node for node in nodes.values() if node.kind == KeptPairs.kind]
    for node in judged:
        begun = of_part(nodes, node, part_names(node)[:1], Doubts())
        assert len(judged) == 2 and set(begun.holds) == {one.short for one in judged}, "one part, of two artifacts"
    retried = site.neo("show", "own/pairs_retry1", "--json").json
    assert retried["items"] == {"entered": 40, "kept": 36, "dropped": {}, "failed": {"not_found": 4}}

    assert (
        told.json["run"] == site.neo("plan", run.pipeline, "--retry-rows", "pairs=server_error", "--json").json["run"]
    )
    again = site.neo("run", run.pipeline, "--retry-rows", "pairs=server_error", "--json").json
    assert {step["action"] for step in again["steps"]} == {"reuse"}
    nothing = site.neo("retry", "own", "--json")
    assert (nothing.code, nothing.json["num_rows"]) == (0, 0)
    told = site.neo("retry", "own")
    assert "Nothing to retry: no row of own-" in told.out and "Failed rows: 4 not_found." in told.out


def test_a_row_that_was_fetched_again_stands_in_its_new_part_alone(run: Downloaded) -> None:
    site = run.site
    assert site.neo("retry", "own/pairs").code == 0
    seen = site.neo("where", f"{run.web.url}/000013.jpg", "--json").json["sightings"]
    assert [one["step"] for one in seen] == ["pairs", "pairs_retry1", "kept"]
    assert seen[0]["said"] == "part 00001: failed (server_error)"
    assert all(one["said"].startswith("part retry1_00000: kept") for one in seen[1:]), seen
    shown = site.neo("look", "own/pairs_retry1", "--num", "40", "--json")
    assert shown.code == 0, shown
    items = shown.json["items"]
    assert len(items) == 40 and sum(item["verdict"].startswith("kept") for item in items) == 36


def test_an_audit_reads_a_file_once_and_a_repair_mends_all_that_have_it(run: Downloaded) -> None:
    site = run.site
    assert site.neo("retry", "own/pairs").code == 0
    whole = site.neo("audit", "own/kept", "--here", "--json").json
    assert whole["findings"] == []
    tar, verdicts = run.entry("pairs", "00002", PAIRS_FILE), run.entry("kept", "00001", VERDICTS_FILE)
    assert run.entry("pairs_retry1", "00002", PAIRS_FILE) == tar
    for entry in (tar, verdicts):
        path = site.folder / "store" / entry.key
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    broken = site.neo("audit", "own/kept", "--here", "--json").json
    assert sorted((one["artifact"].partition("/")[0], one["part"]) for one in broken["findings"]) == [
        ("download_pairs", "download/00002"),
        ("filter_pairs", "judge/00001"),
        ("retry_pairs", "download/00002"),
    ]
    site.neo("audit", "own/kept", "--here", "--repair")
    run.web.is_mended.clear()  # a part that is made again counts only with the bytes that it had
    told = site.neo("run", run.pipeline, "--retry-rows", "pairs=transient", "--json")
    assert told.code == 0, told
    assert run.entry("pairs_retry1", "00002", PAIRS_FILE) == run.entry("pairs", "00002", PAIRS_FILE) != tar
    assert site.neo("audit", "own/kept", "--here", "--json").json["findings"] == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["own/pairs", "--reasons", "server_eror"], "did you mean 'server_error'?"),
        (["own/kept"], "'kept' is no step that fetches pictures; those of own-"),
        (["nothing/pairs"], "nothing in"),
    ],
)
def test_a_wrong_word_is_answered_before_anything_is_fetched(run: Downloaded, words: list[str], says: str) -> None:
    asked = run.web.asked.copy()
    told = run.site.neo("retry", *words)
    assert told.code == 2 and says in told.err, told
    assert run.web.asked == asked


def test_a_retry_of_another_step_is_refused_by_run_and_plan(run: Downloaded) -> None:
    told = run.site.neo("plan", run.pipeline, "--retry-rows", "kept=timeout")
    assert told.code == 2 and "knows nothing of the web; steps that do: pairs" in told.err
    told = run.site.neo("run", run.pipeline, "--retry-rows", "pairs")
    assert told.code == 2 and "write it as STEP=REASONS" in told.err
