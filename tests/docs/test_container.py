"""The container files name files that are there, install by the pinned versions, and run the demo of the README.

They cannot be built here: a build fetches an image and packages.
"""

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

FILES = [ROOT / "Containerfile", ROOT / "cluster" / "ray" / "Containerfile"]
OURS = {"neo_model", "stages", "cluster", "neo_pipelines", "pipelines", "pyproject.toml", "README.md", "LICENSE"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_what_is_copied_is_there_and_is_all_that_the_package_needs(file: Path) -> None:
    copied = {word for line in re.findall(r"^COPY (.+) \S+$", file.read_text(), re.M) for word in line.split()}
    assert copied == OURS and all((ROOT / name).exists() for name in copied)
    text = file.read_text()
    assert "--constraint cluster/ray/constraints.txt" in text
    (pinned,) = re.findall(r"torch==(\S+)", text)
    assert f"torch=={pinned}" in (ROOT / "Makefile").read_text()


def test_the_demo_of_one_machine_is_that_of_the_readme() -> None:
    assert 'CMD ["neo", "run", "tiny"]' in (ROOT / "Containerfile").read_text()
    assert "$(BIN)/neo run tiny" in (ROOT / "Makefile").read_text()
    assert "podman run --rm neo" in (ROOT / "README.md").read_text()
