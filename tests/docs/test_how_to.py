"""Every how-to page works as it is written: its files are written and its commands typed, in a fresh folder."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.pages import HOW_TO, Block, blocks, commands
from tests.docs.worlds import world
from tests.pipelines.conftest import NOBODY, type_

__all__ = ["type_"]

LONG = {"export-and-serve", "mlflow", "benchmarks", "bad-data"}
"""Pages that train, ask or start a server: seconds each."""
ENDS_WITH = re.compile(r"# exit code (\d+)")


def marked(page: Path):
    return pytest.param(page, id=page.stem, marks=[pytest.mark.long] if page.stem in LONG else [])


@pytest.mark.parametrize("page", [marked(page) for page in HOW_TO if any(one.language == "sh" for one in blocks(page))])
def test_the_page_works_as_it_is_written(
    page: Path, tmp_path: Path, type_: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own-site.toml").write_text(f'store = "{tmp_path}/neo-store"\nmlflow = "{NOBODY}"\ncode = "local"\n')
    monkeypatch.chdir(tmp_path)
    with world(page.stem, tmp_path) as (environment, replaced):
        for name, value in {"NEO_SITE": str(tmp_path / "own-site.toml"), **environment}.items():
            monkeypatch.setenv(name, value)
        for block in blocks(page):
            code = block.code
            for ours, theirs in replaced.items():
                code = code.replace(ours, theirs)
            carry_out(block, code, tmp_path, type_)


def carry_out(block: Block, code: str, folder: Path, type_: Callable) -> None:
    if block.title:
        (folder / block.title).write_text(code)
    if block.language == "sh":
        for line in commands(code):
            code_told = ENDS_WITH.search(line)
            words = shlex.split(line, comments=True)
            assert words[0] == "neo", f"line {block.line}: only neo is run; write a block of bash"
            said = type_(words[1:])
            expected = int(code_told[1]) if code_told else 0
            assert said.code == expected, f"{line}\nended with {said.code}\n{said.out}\n{said.err}"
