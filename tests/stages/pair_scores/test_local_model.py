"""A model's files are used where they lie, or copied once and compared with what was pinned."""

import hashlib
import os
from pathlib import Path

import pytest

from stages.contract import PinnedFile, PinnedSource, StageError
from stages.origins.places.folder import FolderPlace
from stages.pair_scores.local_model import local_model
from stages.store import private_folder as private_folder_file
from stages.store.errors import StoreError

FILES = {"config.json": b"{}", "model.safetensors": b"weights" * 1000, "evil.bin": b"pickle", "code.py": b"import os"}


@pytest.fixture
def source(tmp_path: Path) -> PinnedSource:
    folder = tmp_path / "model"
    folder.mkdir()
    files = []
    for name, data in sorted(FILES.items()):
        (folder / name).write_bytes(data)
        files.append(PinnedFile(path=name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()))
    return PinnedSource(name="toy", place=str(folder), files=tuple(files))


@pytest.fixture
def far_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files that can be read, and lie nowhere on this machine; returns the folder for temporary files."""
    monkeypatch.setattr(FolderPlace, "local_path", lambda self, path: None)
    monkeypatch.setattr(private_folder_file.tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path


def test_a_folder_on_this_machine_is_used_where_it_is(source: PinnedSource) -> None:
    assert local_model(source) == Path(source.place)


def test_files_from_elsewhere_are_copied_once_without_code_and_pickles(source: PinnedSource, far_away: Path) -> None:
    folder = local_model(source)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        name: FILES[name] for name in ("config.json", "model.safetensors")
    }
    before = (folder / "config.json").stat().st_mtime_ns
    assert local_model(source) == folder and (folder / "config.json").stat().st_mtime_ns == before


def test_files_are_not_taken_from_a_folder_of_another(
    source: PinnedSource, far_away: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = local_model(source).parent
    assert root.stat().st_mode & 0o777 == 0o700
    other = os.geteuid() + 1
    root.rename(far_away / f"neo-models-{other}")
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(StoreError, match=rf"neo-models-{other} belongs to another user"):
        local_model(source)


def test_files_that_changed_since_they_were_pinned_are_refused(source: PinnedSource, far_away: Path) -> None:
    (Path(source.place) / "config.json").write_bytes(b"[]")
    with pytest.raises(StageError, match="source 'toy': config.json has other bytes than were pinned"):
        local_model(source)


def test_a_source_without_files_of_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="source 'empty' has no file that ends with .json, .txt, .safetensors"):
        local_model(PinnedSource(name="empty", place=str(tmp_path), files=()))
