"""Both notebooks run from their first cell to their last, in the folder of a project that was run."""

from collections.abc import Callable
from pathlib import Path

import nbclient
import nbformat
import pytest

from tests.docs.pages import DOCS
from tests.pipelines.conftest import NOBODY, type_

__all__ = ["type_"]

NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


def test_they_run_where_the_tutorial_left_off(tmp_path: Path, type_: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert type_(["init", "project", "--template", "tune"]).code == 0
    monkeypatch.chdir(tmp_path / "project")
    Path("site.toml").write_text(f'store = "neo-store"\nmlflow = "{NOBODY}"\ncode = "local"\n')
    ran = type_(["run", "pipeline.py:tune", "--until", "tuned", "--site", "site.toml"])
    assert ran.code == 0, ran.out + ran.err
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": "."}}).execute()
        outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
        assert any(
            "image/png" in output.get("data", {}) or "image/jpeg" in output.get("data", {}) for output in outputs
        )
    assert len(NOTEBOOKS) == 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_are_kept_without_outputs(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert all(not cell.outputs and cell.execution_count is None for cell in cells if cell.cell_type == "code")
