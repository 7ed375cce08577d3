"""A folder among the temporary files of all users is taken only where it is this user's own."""

import os
from pathlib import Path

import pytest

from stages.store import private_folder as private_folder_file
from stages.store.errors import StoreError
from stages.store.private_folder import private_folder, temporary_folder


def test_a_folder_is_made_closed_to_others_and_taken_again(tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "deep" / "mine")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert private_folder(folder) == folder


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = private_folder(tmp_path / "mine")
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(StoreError, match=r"mine belongs to another user, or is no folder: remove it"):
        private_folder(folder)


def test_a_folder_into_which_others_may_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(StoreError, match=r"others may write into .*open: remove it"):
        private_folder(tmp_path / "open")


def test_links_and_files_are_refused(tmp_path: Path) -> None:
    private_folder(tmp_path / "mine")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    (tmp_path / "file").touch()
    for name in ("link", "nowhere", "file"):
        with pytest.raises(StoreError, match="is no folder"):
            private_folder(tmp_path / name)
    assert not (tmp_path / "missing").exists()


def test_users_have_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_folder_file.tempfile, "gettempdir", lambda: str(tmp_path))
    assert temporary_folder("neo-models") == tmp_path / f"neo-models-{os.geteuid()}"
