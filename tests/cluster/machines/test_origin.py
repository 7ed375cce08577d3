"""Who begins an attempt: git as it really answers, and GPUs as NVIDIA's driver lists them."""

import subprocess
from pathlib import Path

from cluster.machines.origin import Origin, git_state, gpus


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=n", "-c", "user.email=n@example.org", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_that_of_the_working_tree_and_changes_to_tracked_files_are_said(tmp_path: Path) -> None:
    assert git_state(tmp_path) == ("", False)
    git(tmp_path, "init", "-q")
    assert git_state(tmp_path) == ("", False)
    file = tmp_path / "mine" / "pipeline.py"
    file.parent.mkdir()
    file.write_text("first")
    assert git_state(file.parent) == ("", False), "nothing here is tracked"
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "notes.txt").write_text("not tracked")
    assert git_state(file.parent) == (commit, False)
    file.write_text("second")
    assert git_state(file.parent) == (commit, True)
    assert Origin.here(file).commit == commit


def test_a_folder_that_is_gone_has_no_commit(tmp_path: Path) -> None:
    assert git_state(tmp_path / "gone") == ("", False)


def test_gpus_are_counted_by_type(tmp_path: Path) -> None:
    for number in range(8):
        folder = tmp_path / f"0000:{number:02x}:00.0"
        folder.mkdir()
        (folder / "information").write_text("Model: \t\t NVIDIA H200\nIRQ:   \t\t 42\n")
    assert gpus(tmp_path) == ("8 x NVIDIA H200",)
    assert gpus(tmp_path / "none") == ()


def test_this_machine_has_cpus_memory_and_somebody() -> None:
    here = Origin.here()
    assert here.user and here.num_cpus and here.memory_bytes and here.versions
    assert f"{here.num_cpus} CPUs" in here.hardware
