"""The command line keeps its promises: exit codes, one JSON document, a last line, quick answers."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from pipelines.cli import COMMANDS, app, options_first
from pipelines.commands.context import CommandContext
from pipelines.commands.examples import EXAMPLES, GROUPS
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
     ["xyzzy", "--json"], ["plan", "--json"], ["--json"]],
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


def test_every_command_stands_in_one_group_and_has_an_example(site: NeoSite) -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted({*grouped}) and set(grouped) <= set(COMMANDS)
    assert set(EXAMPLES) == set(COMMANDS) == set(grouped), "a command without an example, or without a group"
    told = site.type_(["-h"]).out
    assert all(f"\n{heading}:\n" in told for heading in GROUPS) and "NEO_HOME" in told
    assert "..." not in told.partition("\nBegin:")[2], "no sentence is cut"
    assert "Example" in site.type_(["where", "-h"]).out


@pytest.mark.parametrize("example", [line for lines in EXAMPLES.values() for line in lines])
def test_an_example_can_be_typed(example: str) -> None:
    _, name, *words = shlex.split(example)
    group = typer.main.get_command(app)
    with group.make_context("neo", [name, *words]) as context:
        command = group.commands[name]
        rest = options_first(group.params, words)[1]
        command.make_context(name, rest, parent=context)


def test_the_version_is_said(site: NeoSite) -> None:
    assert re.fullmatch(r"neo \d+\.\d+\S*\n", site.type_(["--version"]).out)


@pytest.mark.parametrize(
    ("typed", "right"),
    [
        (["plan", "tinny"], "neo plan tiny"),
        (["plam", "tiny"], "neo plan tiny"),
        (["plan", f"{TOYS}:data", "--set", "kpet.min_width_px=12"], f"neo plan {TOYS}:data --set kept.min_width_px=12"),
        (["plan", f"{TOYS}:data", "--set", "kept.min_widht_px=12"], f"neo plan {TOYS}:data --set kept.min_width_px=12"),
        (["plan", f"{TOYS}:data", "--until", "kpet"], f"neo plan {TOYS}:data --until kept"),
        (["describe", "filter_pair"], "neo describe filter_pairs"),
        (["show", "data/kpet"], "neo show data/kept"),
        (["status", "dta"], "neo status data"),
    ],
)
def test_after_a_typo_the_next_command_is_the_right_one_for_the_same_site(
    site: NeoSite, typed: list[str], right: str
) -> None:
    if typed[0] in ("show", "status"):
        assert site.neo("run", f"{TOYS}:data").code == 0
    told = site.neo(*typed)
    assert told.code == 2, told
    assert told.last_line == f"Next: {right} --site {site.file}"
    assert site.neo(*shlex.split(right)[1:]).code == 0
    document = site.neo(*typed, "--json").json
    assert document["version"] == 1 and document["next"].startswith(right)


def test_a_program_that_the_shell_does_not_find_is_named_by_its_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program_file = tmp_path / ".venv" / "bin" / "neo"
    program_file.parent.mkdir(parents=True)
    program_file.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(program_file)])
    monkeypatch.setenv("PATH", "/usr/bin")
    assert CommandContext().on_same_site("neo list") == ".venv/bin/neo list"
    monkeypatch.setenv("PATH", str(program_file.parent))
    assert CommandContext().on_same_site("neo list") == "neo list"
