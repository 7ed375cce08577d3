"""A weight file is copied in chunks, compared with its pin, and never held in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.local import make
from stages.contract import Source, StageError
from stages.fetch_llm import FetchLlmRecipe, fetch_llm
from stages.model_folders.copying import WeightTask, weight_parts
from stages.model_folders.folder import ForeignFolder
from stages.origins.pinning import pin_source
from stages.store.store import Store
from tests.worlds.model_folders import write_qwen3

NUM_VALUES = 50_000_000
MAX_GROWTH_BYTES = 60_000_000

COPY = '''
import sys
from pathlib import Path
from stages.commit.draft import Draft
from stages.contract import PinnedSource
from stages.model_folders.copying import copy_weights, weight_parts
from stages.model_folders.folder import ForeignFolder

def peak_kib():
    """The peak of this process alone: the figure of getrusage begins at that of its parent."""
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

source = PinnedSource.model_validate_json(sys.argv[1])
(part,) = weight_parts(ForeignFolder(source), ["model.safetensors"])
before = peak_kib()
copy_weights(part, Draft(Path(sys.argv[2]), print), source=source.name, place=source.place, allow_non_finite=())
print(peak_kib() - before)
'''


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    header = json.dumps({"w": {"dtype": "F32", "shape": [NUM_VALUES], "data_offsets": [0, 4 * NUM_VALUES]}}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(num_bytes := 8 + len(header) + 4 * NUM_VALUES)
    source = pin_source("big", [str(folder)])
    command = [sys.executable, "-c", COPY, source.model_dump_json(), str(tmp_path / "scratch")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert int(done.stdout) * 1024 < MAX_GROWTH_BYTES
    assert (tmp_path / "scratch" / "files" / "model" / "model.safetensors").stat().st_size == num_bytes


def test_each_file_is_a_part_of_its_own(tmp_path: Path) -> None:
    write_qwen3(tmp_path, num_shards=3)
    folder = ForeignFolder(pin_source("qwen3", [str(tmp_path)]))
    names = [name for name in folder.files if name.endswith(".safetensors")]
    parts = weight_parts(folder, names)
    assert [(part.name, WeightTask.of(part).file.path) for part in parts] == [
        (f"{number:05d}", name) for number, name in enumerate(names)
    ]


def test_other_bytes_than_were_pinned_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value changes between the pin and the copy; the size stays."""
    from cluster import local

    folder = tmp_path / "qwen3"
    write_qwen3(folder)
    pinned = pin_source("qwen3", [str(folder)])
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    monkeypatch.setattr(local, "pin_source", lambda *_: pinned)
    step = fetch_llm.bind("llm", FetchLlmRecipe(source=Source("qwen3")))
    with pytest.raises(StageError, match=r"model\.safetensors has other bytes than were pinned .*neo pin"):
        make(step, Store(tmp_path / "store"), sources={"qwen3": str(folder)})
