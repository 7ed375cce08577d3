"""An artifact reads its own files alone, and says which is damaged."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.artifacts.artifact import Artifact, open_artifact
from stages.artifacts.kinds import Checkpoint
from stages.artifacts.records import FileEntry, PartRecord
from stages.store.errors import StoreError
from stages.store.store import Store
from tests.stages.artifacts.test_manifest import manifest
from tests.worlds.colour_world import ColourWorld


def read(artifact: Artifact, entry: FileEntry) -> bytes:
    return artifact.read(entry)


def read_local(artifact: Artifact, entry: FileEntry) -> bytes:
    with artifact.local_file(entry) as path:
        return path.read_bytes()


both_ways = pytest.mark.parametrize("read_file", [read, read_local])


@pytest.fixture
def checkpoint(colour_world: ColourWorld) -> Any:
    return colour_world.open(colour_world.checkpoint)


@both_ways
def test_a_file_of_another_artifact_is_refused(
    checkpoint: Checkpoint, colour_world: ColourWorld, read_file: Callable[[Artifact, FileEntry], bytes]
) -> None:
    pictures = colour_world.open(colour_world.pictures)
    entry = pictures.parts[0].files[0]
    assert len(read_file(pictures, entry)) == entry.size_bytes
    with pytest.raises(StoreError, match=re.escape(f"{entry.key} is not a file of {checkpoint!r}")):
        read_file(checkpoint, entry)


@both_ways
def test_a_file_of_another_size_is_damaged(
    checkpoint: Checkpoint, read_file: Callable[[Artifact, FileEntry], bytes]
) -> None:
    entry = checkpoint.model_files[0]
    longer = entry.model_copy(update={"size_bytes": entry.size_bytes + 1})
    with pytest.raises(StoreError, match=f"{entry.size_bytes} bytes, .* were committed; `neo audit {checkpoint.short}"):
        read_file(checkpoint, longer)


@both_ways
def test_a_missing_file_is_damage(checkpoint: Checkpoint, read_file: Callable[[Artifact, FileEntry], bytes]) -> None:
    absent = checkpoint.model_files[0].model_copy(update={"key": f"{checkpoint.folder}/absent"})
    with pytest.raises(StoreError, match="absent of .* is missing.*neo audit"):
        read_file(checkpoint, absent)


def test_an_artifact_of_another_kind_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    stage, store = checkpoint.manifest.stage, checkpoint.store
    assert open_artifact(store, stage, checkpoint.fingerprint, Artifact).fingerprint == checkpoint.fingerprint
    with pytest.raises(StoreError, match=f"holds {checkpoint.manifest.kind}, not Words"):
        open_artifact(store, stage, checkpoint.fingerprint, type("Words", (Artifact,), {}))
    with pytest.raises(StoreError, match="is not committed"):
        open_artifact(store, stage, "0" * 64, Artifact)


@pytest.mark.parametrize("num_parts", [10, 20_000])
def test_a_part_is_found_by_its_name_and_phase_among_any_number(tmp_path: Path, num_parts: int) -> None:
    parts = [
        PartRecord(phase=phase, part=str(n), facts={"n": n}) for phase in ("read", "write") for n in range(num_parts)
    ]
    artifact = Artifact(Store(tmp_path), manifest(*parts))
    last = str(num_parts - 1)
    assert all(artifact.part(str(n), "write") is parts[num_parts + n] for n in range(num_parts))
    assert artifact.part(last).phase == "read", "the first phase that has it"
    with pytest.raises(KeyError, match=r"no part 'x' in phase 'any'"):
        artifact.part("x")
    with pytest.raises(KeyError, match=r"no part '0' in phase 'judge'"):
        artifact.part("0", "judge")
    assert "_parts_by_name" not in artifact.__getstate__()
    assert pickle.loads(pickle.dumps(artifact)).part(last, "write").facts == {"n": num_parts - 1}  # noqa: S301
