"""Folders that can be verified: a copy of toy rows, and an export without its weights."""

import hashlib
import shutil
from pathlib import Path

import pytest

from stages.exporting.lineage import lineage_document
from stages.exporting.lineage_file import sealed
from tests.pipelines.conftest import TOYS, NeoSite
from tests.stages.exporting.test_model_card import LINEAGE


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
