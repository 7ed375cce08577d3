"""Folders that can be verified: a copy of toy rows, and an export without its weights."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from stages.exporting.lineage import lineage_document
from stages.exporting.lineage_file import sealed
from tests.pipelines.conftest import TOYS, NeoSite
from tests.stages.exporting.test_model_card import LINEAGE

FILE: Final = {"name": "x", "size_bytes": 1, "sha256": "0" * 64}
"""A file that no export has, as `lineage.json` lists it."""


def resealed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Write a lineage anew after a change: what somebody would do who knows how."""
    document = json.loads(path.read_bytes())
    del document["document_root"]
    change(document)
    path.write_bytes(sealed(document))


def linked(path: Path, outside: Path) -> None:
    """Move a file or a folder, and leave a link in its place."""
    shutil.move(path, outside)
    path.symlink_to(outside)


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the store of the toy pipeline is kept, once a test has run that."""
    return tmp_path_factory.mktemp("stores")


@pytest.fixture
def copy(site: NeoSite, stores: Path, tmp_path: Path) -> Path:
    """What `neo get` makes of the rows of the toy pipeline."""
    if not (stores / "data").exists():
        assert site.neo("run", f"{TOYS}:data").code == 0
        shutil.copytree(site.folder / "store", stores / "data")
    else:
        shutil.copytree(stores / "data", site.folder / "store")
    assert site.neo("get", "data/rows", str(tmp_path / "copy")).code == 0
    return tmp_path / "copy"


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """An export as the stage leaves it: an empty file, a binary one, one in a folder below, and its lineage."""
    folder = tmp_path / "export"
    contents = {
        "README.md": b"# Card\n",
        "empty.bin": b"",
        "model.safetensors": bytes(range(256)) * 40,
        "sub/a.json": b"{}",
    }
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    files = [
        {"name": name, "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in contents.items()
    ]
    (folder / "lineage.json").write_bytes(sealed(lineage_document(LINEAGE, files)))
    return folder
