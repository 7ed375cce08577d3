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

from pipelines.cli import app
from tests.docs.pages import PAGES, ROOT, Block, blocks, commands, named

LANGUAGES = {"sh", "bash", "python", "toml", "json", "yaml", "text", "xml", ""}
READMES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
EVERYWHERE = [*PAGES, *(path for path in READMES if path.exists())]
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
