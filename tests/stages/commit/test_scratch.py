"""Scratch folders: private, gone afterwards, and swept by the next one where their owner was killed."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from stages.commit.scratch import scratch_folder, sweep

OWNER = """
import sys
from stages.commit.scratch import scratch_folder
with scratch_folder("part") as folder:
    (folder / "half").write_text("half a part")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def owner(temporary: Path) -> tuple[subprocess.Popen[str], Path]:
    """Another process with a folder of its own, and the folder."""
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(Path(__file__).parents[3])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", OWNER], env=environment, text=True, **pipes)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_nothing_is_left_of_a_folder_after_its_use_or_an_error(temporary: Path) -> None:
    with scratch_folder("part") as folder:
        assert folder.parent == temporary and folder.is_dir()
    with pytest.raises(ValueError, match="wrong"), scratch_folder("part"):
        raise ValueError("wrong")
    assert list(temporary.iterdir()) == []


def test_the_next_folder_removes_what_a_killed_process_left_and_no_living_ones(temporary: Path) -> None:
    (dead, left), (alive, kept) = owner(temporary), owner(temporary)
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    with scratch_folder("part") as folder:
        assert folder.is_dir() and not left.exists()
        assert (kept / "half").read_text() == "half a part"
        assert sweep(temporary) == []
    alive.communicate(timeout=60)
    assert list(temporary.iterdir()) == []


def test_what_is_not_ours_stays(temporary: Path) -> None:
    (temporary / "neo-cache").mkdir()
    (temporary / "other.lock").touch()
    (temporary / "neo-elsewhere.lock").symlink_to(temporary / "other.lock")
    assert sweep(temporary) == []
    assert len(list(temporary.iterdir())) == 3
