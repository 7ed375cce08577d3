"""What of a folder is taken over, and what a source that is no model folder is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.contract import PinnedFile, PinnedSource, StageError
from stages.model_folders import folder as module
from stages.model_folders.folder import ForeignFolder
from stages.origins.pinning import pin_source


def folder_of(root: Path, **contents: bytes) -> ForeignFolder:
    for name, content in contents.items():
        file = root / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return ForeignFolder(pin_source("mine", [str(root)]))


@pytest.mark.parametrize(
    ("name", "is_kept"),
    [
        ("config.json", True),
        ("tokenizer.json", True),
        ("merges.txt", True),
        ("chat_template.jinja", True),
        ("LICENSE", True),
        ("Licence.md", True),
        ("LICENSE.txt", True),
        ("NOTICE", True),
        ("README.md", True),
        ("USAGE_POLICY.md", True),
        ("model.safetensors.index.json", True),
        ("pytorch_model.bin.index.json", False),
        ("pytorch_model.bin", False),
        ("license.py", False),
        ("modeling_neo.py", False),
        ("picture.png", False),
        ("model.safetensors", False),
        ("original/params.json", False),
    ],
)
def test_which_files_are_settings(name: str, is_kept: bool, tmp_path: Path) -> None:
    file = PinnedFile(path=name, size_bytes=10, sha256="0" * 64)
    folder = ForeignFolder(PinnedSource(name="mine", place="/nowhere", files=(file,)))
    assert (name in folder.settings) is is_kept


def test_a_file_too_large_for_settings_is_left_out_and_never_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path, **{"trainer_state.json": b"[" + b"1," * 100 + b"1]", "config.json": b"{}"})
    monkeypatch.setattr(module, "MAX_SETTINGS_BYTES", 100)
    assert folder.settings == ("config.json",)
    with pytest.raises(StageError, match=r"source 'mine': trainer_state\.json has 203 bytes"):
        folder.read("trainer_state.json")


@pytest.mark.parametrize("content", [b"not JSON", b"[1]"])
def test_settings_that_are_no_object_are_named(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"source 'mine': config\.json is no JSON"):
        folder_of(tmp_path, **{"config.json": content}).read_config()


def test_a_model_in_a_folder_below_is_pointed_out(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, **{"checkpoint-10__config.json": b"{}", "notes.txt": b"x"})
    with pytest.raises(StageError, match=r"no config\.json at its root, but one in checkpoint-10/: name that folder"):
        folder.read_config()


@pytest.mark.parametrize(
    ("place", "commit"),
    [
        ("hf://Qwen/Qwen3-1.7B@" + "ab" * 20, "ab" * 20),
        ("hf://Qwen/Qwen3-1.7B@" + "ab" * 20 + "/sub", "ab" * 20),
        ("s3://bucket/model", None),
        ("/models/qwen3", None),
    ],
)
def test_the_commit_of_a_repository_is_known(place: str, commit: str | None) -> None:
    assert ForeignFolder(PinnedSource(name="mine", place=place, files=())).commit == commit
