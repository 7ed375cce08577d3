"""Every `Next:` is typed as it stands: it is for the same site, works, and is not what was typed before."""

import re
import shlex
from pathlib import Path

import pytest

from tests.pipelines.conftest import TOYS, NeoSite, Said

DATA = f"{TOYS}:data"
PLACEHOLDER = re.compile(r"(?<![\w=])(FOLDER|REF|FILE|RUN|STEP|PIPELINE|URL|PUBLIC|PRIVATE|OWNER)\b")
STILL_FAILS = "once "
"""Begins the remark of a next command that fails in the same way until a person has mended something."""


def typed_next(site: NeoSite, words: list[str]) -> Said:
    """Type a command, then the next command that it names; returns what the second one said."""
    said = site.neo(*words)
    assert said.last_line.startswith("Next: "), said
    command, _, remark = said.last_line.removeprefix("Next: ").partition("   (")
    assert not PLACEHOLDER.search(command), command
    typed = shlex.split(command)
    assert typed[0] == "neo" and (typed[-2:] == ["--site", str(site.file)] or "--help" in typed), command
    is_same = typed[1:] == [*words, "--site", str(site.file)]
    then = site.type_(typed[1:])
    if remark.startswith(STILL_FAILS):
        assert said.code and then.code == said.code, (words, command, then)
    else:
        assert not is_same, f"{words} names itself"
        assert then.code == 0, (words, command, then)
        assert len((then.out + then.err).splitlines()) > 1, (words, command, then)
    return then


@pytest.mark.parametrize(
    "words",
    ["status", "resume", "show x", "gc", "index", "takedown", "mirror", "doctor", "stages", "describe mix_samples",
     f"plan {DATA}", "plan nofile.py:x", f"plan {TOYS}", f"plan {TOYS}:twins", f"run {TOYS}:misbound",
     f"submit {DATA} --until kept", f"plan {DATA} --set kept.min_width_px=x", "describe filter_pair", "verify nothing"],
)  # fmt: skip
def test_on_an_empty_store(site: NeoSite, words: str) -> None:
    typed_next(site, words.split())


def test_after_a_run(site: NeoSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # `neo get` and `neo report` write beside it
    assert site.neo("run", DATA).code == 0
    run = site.neo("list", "--json").json["runs"][0]["run"]
    copy, report = tmp_path / "copy", tmp_path / "report.html"
    for words in (
        "list", "status", "resume", f"resume {run}", f"show {run}", "show data/rows", "show data/rowz",
        "trace data/rows", "audit data/rows", f"logs {run}", f"logs {run} kept", f"logs {run} --attempt 7",
        f"cancel {run}", f"plan {DATA}", f"run {DATA}", f"plan {DATA} --set mix.num_repetitions=2",
        "where http://toy.invalid/1.jpg", "where http://toy.invalid/4.jpg", "where --domain toy.invalid",
        "index data/rows", "row data/rows 1", "row data/rows 100", "row data/pairs 0", "seen data/rows",
        "impact http://toy.invalid/1.jpg", "impact --of data/pairs --part 00001", "diff data/pairs data/kept",
        "files data/rows", "files data/rows --only *.x", f"get data/kept {copy}", f"get data/kept {copy}",
        f"get data/pairs {copy}", f"verify {copy}", f"verify {tmp_path}", f"sign {copy} --key none.pem",
        f"report {run} --out {report}", f"report {run} --out {tmp_path}", "mirror --run data/rows",
        "ask data/rows x.png What?", f"pin {DATA}", "look data/mix", "look nothing",
        "gc", "gc --grace 0", f"gc --forget {run}",
    ):  # fmt: skip
        typed_next(site, words.split())


def test_after_a_failure_the_run_is_resumed_from_anywhere(
    site: NeoSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(TOYS).parent)
    file = Path(TOYS).name
    assert site.neo("run", f"{file}:broken_data").code == 1
    monkeypatch.chdir(tmp_path)
    for words in ("status", "show broken_data", "logs broken_data", "cancel broken_data"):
        told = site.neo(*words.split()).last_line
        assert re.match(r"Next: neo resume broken_data-\w+ --site ", told), (words, told)
    for words in ("show broken_data/kept", "trace broken_data/pairs", "audit broken_data/pairs", "report broken_data"):
        typed_next(site, words.split())
