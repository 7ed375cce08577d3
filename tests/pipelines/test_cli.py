"""The command line keeps its promises: exit codes, one JSON document, a last line, quick answers."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from pipelines.cli import COMMANDS, app, options_first
from tests.pipelines.conftest import ROOT, TOYS, NeoSite


def test_help_names_every_command_and_every_exit_code(site: NeoSite) -> None:
    told = site.type_(["--help"])
    assert told.code == 0
    assert all(re.search(rf"^  {command} ", told.out, re.MULTILINE) for command in COMMANDS)
    assert "75 interrupted" in told.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_a_site_and_json_and_explains_itself(site: NeoSite, command: str) -> None:
    told = site.type_([command, "--help"])
    assert told.code == 0
    assert "--site" in told.out and "NEO_SITE" in told.out and "--json" in told.out


@pytest.mark.parametrize("words", [["bogus"], ["plan"], ["plan", "tiny", "--nothing"], ["show"]])
def test_a_command_that_makes_no_sense_ends_with_2(site: NeoSite, words: list[str]) -> None:
    assert site.type_(words).code == 2


def test_neos_own_options_are_taken_before_and_after_the_command(site: NeoSite) -> None:
    file = str(site.file)
    orders = (
        ["--site", file, "--json", "plan", f"{TOYS}:data"],
        ["--json", "plan", f"{TOYS}:data", f"--site={file}"],
        ["plan", "--site", file, f"{TOYS}:data", "--json"],
    )
    documents = [site.type_(words) for words in orders]
    assert len({told.out for told in documents}) == 1 and documents[0].json["pipeline"] == "data"
    assert documents[0].json["next"] == f"neo run {TOYS}:data --site {file}"
    assert site.type_(["list", "--site", "nowhere", "--site", file]).code == 0, "the last one counts"


@pytest.mark.parametrize(
    "words",
    [["plan", "tiny", "--nothing", "--json"], ["--json", "plan", "tiny", "--nothing"], ["--nothing", "plan", "--json"],
     ["bogus", "--json"], ["plan", "--json"], ["--json"]],
)  # fmt: skip
def test_a_wrong_flag_is_told_as_json_where_json_was_asked_for(site: NeoSite, words: list[str]) -> None:
    told = site.type_(words)
    assert told.code == 2 and told.err == ""
    assert told.json["exit_code"] == 2 and told.json["error"] and told.json["next"].endswith(" --help")


def test_a_wrong_flag_names_itself_and_the_help_of_its_command(site: NeoSite) -> None:
    told = site.type_(["plan", "tiny", "--nothing"])
    assert told.err.startswith("neo: No such option: --nothing")
    assert told.last_line == "Next: neo plan --help"
    assert "'--site' requires an argument" in site.type_(["list", "--site"]).err


def test_options_after_two_dashes_are_words() -> None:
    site_option, json_option = typer.main.get_command(app).params[:2]
    words = ["status", "--site", "lab", "--", "--json", "--site=x"]
    assert options_first([site_option, json_option], words) == (
        ["--site", "lab"],
        ["status", "--", "--json", "--site=x"],
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["plan", "tinny"], 2),
        (["plan", f"{TOYS}:data", "--set", "kept.min_width=1"], 2),
        (["plan", f"{TOYS}:data", "--until", "nothing"], 2),
        (["plan", f"{TOYS}:data", "--only", "kept", "--until", "kept"], 2),
        (["plan", f"{TOYS}:data", "--only", "kept"], 3),
        (["show", "nothing"], 3),
        (["trace"], 2),
    ],
)
def test_an_error_has_a_code_a_message_and_a_next_command_also_as_json(
    site: NeoSite, words: list[str], code: int
) -> None:
    told = site.neo(*words)
    assert told.code == code and told.err.startswith("neo: ") and told.out == ""
    assert told.last_line.startswith("Next: neo ")
    document = site.neo(*words, "--json")
    assert document.code == code
    assert document.json["exit_code"] == code and document.json["next"].startswith("neo ")


@pytest.mark.parametrize(
    "words",
    [["plan", f"{TOYS}:data"], ["run", f"{TOYS}:data"], ["show", "data"], ["show", "data/kept"], ["trace", "data"],
     ["audit", "data"], ["list"]],
)  # fmt: skip
def test_every_answer_is_one_document_or_ends_with_the_next_command(site: NeoSite, words: list[str]) -> None:
    site.neo("run", f"{TOYS}:data")
    assert site.neo(*words).last_line.startswith("Next: neo ")
    assert site.neo(*words, "--json").json["exit_code"] == 0


def test_metrics_have_the_keys_that_scripts_read(site: NeoSite) -> None:
    site.neo("run", f"{TOYS}:scored")
    metrics = site.neo("show", "scored/evaluate", "--json").json["metrics"]
    kinds = ("colour", "shape")
    expected = {"accuracy", "accuracy_low", "accuracy_high", "accuracy_blind"}
    expected |= {f"accuracy_{kind}" for kind in kinds} | {f"accuracy_blind_{kind}" for kind in kinds}
    assert set(metrics) == expected


def test_a_site_that_is_not_there_is_a_bad_command(site: NeoSite) -> None:
    told = site.type_(["list", "--site", "nowhere"])
    assert told.code == 2 and "there is no site 'nowhere'" in told.err


def test_what_is_listed_can_be_typed(site: NeoSite) -> None:
    site.neo("run", f"{TOYS}:data")
    listed = site.neo("list", "--json").json
    assert set(listed["names"]) == {"data/pairs", "data/kept", "data/mix", "data/rows"}
    for ref in [*listed["names"], *listed["names"].values(), listed["runs"][0]["run"]]:
        assert site.neo("show", ref).code == 0


@pytest.mark.parametrize("words", [["--help"], ["plan", "tiny"], ["list"]])
def test_quick_commands_import_nothing_heavy(tmp_path: Path, words: list[str]) -> None:
    process = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pipelines.cli", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rsplit("|", 1)[-1].strip() for line in process.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & {"ray", "mlflow", "torch", "deepspeed", "transformers", "img2dataset", "pyarrow", "numpy"}


def test_a_narrow_terminal_and_a_plain_locale_are_no_reason_to_fail(site: NeoSite, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "20", "LC_ALL": "C", "PYTHONUTF8": "0"}
    process = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "plan", f"{TOYS}:whole", "--graph", "--site", str(site.file)],
        cwd=tmp_path,
        env=environment | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "Next: neo run" in process.stdout
    assert process.stdout.isascii()


def test_the_next_command_is_for_the_same_site(site: NeoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    assert site.neo("list").last_line == f"Next: neo plan tiny --site {site.file}"
    assert site.type_(["list", f"--site={site.file}"]).last_line == f"Next: neo plan tiny --site {site.file}"
    monkeypatch.setenv("NEO_SITE", str(site.file))
    assert site.type_(["list"]).last_line == "Next: neo plan tiny"
