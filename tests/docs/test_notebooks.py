"""Both notebooks run from their first cell to their last, in the folder of a project that was run."""

from collections.abc import Callable
from pathlib import Path

import nbclient
import nbformat
import pytest

from tests.docs.pages import DOCS
from tests.long import long
from tests.pipelines.conftest import NOBODY, type_

__all__ = ["type_"]

NOTEBOOKS = {"look_at_my_data": "rows", "what_did_this_checkpoint_see": "tuned"}
"""Notebook to the step of the tutorial's project that it needs."""


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", [long("look_at_my_data"), long("what_did_this_checkpoint_see")])
def test_it_runs_where_the_tutorial_left_off(
    name: str, tmp_path: Path, type_: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert type_(["init", "project", "--template", "tune"]).code == 0
    monkeypatch.chdir(tmp_path / "project")
    Path("site.toml").write_text(f'store = "neo-store"\nmlflow = "{NOBODY}"\ncode = "local"\n')
    ran = type_(["run", "pipeline.py:tune", "--until", NOTEBOOKS[name], "--site", "site.toml"])
    assert ran.code == 0, ran.out + ran.err
    notebook = nbformat.read(DOCS / "notebooks" / f"{name}.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=1000, resources={"metadata": {"path": "."}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any({"image/png", "image/jpeg"} & output.get("data", {}).keys() for output in outputs)


def test_all_notebooks_are_run_and_kept_without_outputs() -> None:
    files = sorted((DOCS / "notebooks").glob("*.ipynb"))
    assert [path.stem for path in files] == sorted(NOTEBOOKS)
    cells = [cell for path in files for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
