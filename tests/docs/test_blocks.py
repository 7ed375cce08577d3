"""Every block of code of the documentation parses, and every command of it exists, with its options."""

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from cluster.site import Site
from docs.make.stages import described
from pipelines.cli import app
from tests.docs.pages import DOCS, PAGES, ROOT, Block, blocks, commands, named
from tests.house.test_layout import FLOORS

LANGUAGES = {"sh", "bash", "python", "toml", "json", "yaml", "text", "xml", ""}
READMES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
EVERYWHERE = [*PAGES, *(path for path in READMES if path.exists())]
NAME = re.compile(r"\b[a-z]+_[a-z_]+\b")
GROUP: Any = typer.main.get_command(app)


@pytest.mark.parametrize("page", EVERYWHERE, ids=named)
def test_every_block_parses(page: Path) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{named(page)}:{block.line}: a block of {block.language!r}"
        try:
            check_syntax(block)
        except (ValueError, SyntaxError, subprocess.CalledProcessError) as error:
            pytest.fail(f"{named(page)}:{block.line}: {error}")


def check_syntax(block: Block) -> None:
    match block.language:
        case "python":
            compile(block.code, "block", "exec")
        case "toml":
            tomllib.loads(block.code)
        case "json":
            json.loads(block.code)
        case "yaml":
            list(yaml.safe_load_all(block.code))
        case "bash" | "sh":
            subprocess.run(["bash", "-n"], input=block.code, text=True, check=True, capture_output=True)


@pytest.mark.parametrize("page", EVERYWHERE, ids=named)
def test_every_command_exists_with_its_options(page: Path) -> None:
    shown = [line for block in blocks(page) if block.language in ("sh", "bash", "") for line in commands(block.code)]
    inline = [words for words in re.findall(r"`(neo [a-z][^`]*)`", page.read_text()) if " - " not in words]
    for line in [*shown, *inline]:
        if line.startswith("neo ") and not line.startswith(("neo -", "neo {", "neo X")):
            assert not (trouble := trouble_with(line)), f"{named(page)}: {line!r}: {trouble}"


def trouble_with(line: str) -> str:
    """What is wrong with a command as it is typed; '' if nothing is."""
    words = shlex.split(line, comments=True)
    name = words[1]
    if name not in GROUP.commands:
        return f"there is no command {name}"
    known = {option for param in [*GROUP.commands[name].params, *GROUP.params] for option in param.opts} | {"--help"}
    options = [word.partition("=")[0] for word in words[2:] if word.startswith("--") and word != "--"]
    return ", ".join(f"there is no option {option}" for option in options if option not in known)


def test_a_wrong_command_is_found() -> None:
    assert trouble_with("neo pln tiny") and trouble_with("neo plan tiny --sites x") and not trouble_with("neo plan x")


def test_what_stands_for_an_option_of_another_tool_exists() -> None:
    """The second column of the tables of coming-from/ names recipe fields, fields of sites, and stages."""
    schema = Site.model_json_schema()
    known = {name for model in (schema, *schema["$defs"].values()) for name in model["properties"]}
    for stage in described():
        known |= {stage.name, *(field.name.rpartition(".")[2] for field in stage.fields)}
    for page in (DOCS / "coming-from").glob("*.md"):
        lines = [line.split("|") for line in page.read_text().splitlines() if line.count("|") >= 4]
        words = [word for line in lines for code in re.findall(r"`([^`]+)`", line[2]) for word in NAME.findall(code)]
        assert sorted(set(words) - known) == [], page.name


def test_every_message_of_the_troubleshooting_is_one_that_is_printed() -> None:
    page = (DOCS / "troubleshooting.md").read_text().partition("## What a screen shows")[0]
    messages = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")][2:]
    sources = [path for top in FLOORS for path in (ROOT / top).rglob("*.py")]
    text = " ".join(re.sub(r'"\s*\n\s*f?"', "", path.read_text()) for path in sources)
    assert len(messages) > 5 and [message for message in messages if message not in text] == []
