"""Killed at its commits, again and again, a deduplication ends with the bytes of one that nothing happened to."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from cluster.local import make
from stages.dedup_pairs import DedupPairsRecipe, dedup_pairs
from stages.store.store import Store
from tests.worlds.copied_pairs import CopiesRecipe, make_copies

SIZES = (40, 48, 56, 64)
PAIRS = [
    (f"http://a/{number % 17}", f"caption {number % 5}", f"moon {SIZES[number % 4]} JPEG {60 + number % 20}")
    for number in range(30)
]
RAW = make_copies.bind("copies", CopiesRecipe(parts=[PAIRS[part::3] for part in range(3)]))
STEP = dedup_pairs.bind("unique", DedupPairsRecipe(max_pairs_per_caption=4, max_share_lost=1), RAW)
FAULTS = (
    "phase.listed:after@1=kill",  # each attempt passes fewer of a point's commits than the one before
    "part.recorded:after@2=kill",
    "part.uploaded:before@3=kill",
    "part.files_written:after@2=kill",
    "part.recorded:before@4=kill",
    "part.uploaded:after@1=kill",
    "artifact.manifest_created:before=kill",
)


def attempt(store: Path, fault: str) -> int:
    code = f"from tests.stages.duplicates.test_killed import STEP, make; make(STEP, {str(store)!r})"
    environment, root = {**os.environ, "NEO_FAULT": fault}, Path(__file__).parents[3]
    return subprocess.run([sys.executable, "-c", code], env=environment, cwd=root, check=False).returncode


def test_killed_at_each_attempt_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole = make(STEP, Store(tmp_path / "whole"))
    make(RAW, Store(tmp_path / "killed"))
    assert [attempt(tmp_path / "killed", fault) for fault in FAULTS] == [-signal.SIGKILL] * len(FAULTS)
    resumed = make(STEP, Store(tmp_path / "killed"))
    assert resumed.manifest.content == whole.manifest.content
    assert [record.content for record in resumed.manifest.parts] == [record.content for record in whole.manifest.parts]
