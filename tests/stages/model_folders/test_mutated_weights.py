"""Weight files that were damaged or made to harm are taken, or refused in one clean sentence before they are copied."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from safetensors import safe_open

from neo_model.weights.released import ReleasedFolderError, read_checkpoint
from stages.commit.draft import Draft
from stages.contract import StageError
from stages.model_folders.folder import INDEX_FILE, ForeignFolder
from stages.model_folders.qwen3_folder import inspect_qwen3
from stages.origins.pinning import pin_source
from tests.stages.model_folders.test_mutated_configs import MAX_MESSAGE_CHARACTERS
from tests.worlds.model_folders import write_neo, write_qwen3
from tests.worlds.mutated_weights import mutated_index, mutated_weights

NUM_MUTATIONS = 300
DEEP = b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def end_of(root: Path, scratch: Path) -> str:
    """`taken` or `refused`. Lets out whatever is no refusal, and looks at what was said."""
    try:
        draft = Draft(scratch=scratch, report=lambda _: None)
        inspect_qwen3(ForeignFolder(pin_source("mine", [str(root)])), draft, published=None, own_head=False)
    except StageError as error:
        said = str(error)
        assert said.replace("\n", "").isprintable() and len(said) < MAX_MESSAGE_CHARACTERS, said[:500]
        return "refused"
    return "taken"


def ends(
    root: Path, file: Path, mutate: Callable[[int], bytes], scratch: Path, numbers: range = range(NUM_MUTATIONS)
) -> Counter[str]:
    found: Counter[str] = Counter()
    for number in numbers:
        file.write_bytes(mutate(number))
        (one := scratch / str(number)).mkdir()
        found[end_of(root, one)] += 1
    return found


def ends_of_weights(numbers: range, folder: Path) -> Counter[str]:
    """How mutations of a weight file end."""
    root = folder / "folder"
    write_qwen3(root)
    file = root / "model.safetensors"
    whole = file.read_bytes()
    return ends(root, file, lambda number: mutated_weights(whole, number), folder, numbers)


def check(first: int, stop: int) -> None:
    """What `make test-hostile` calls, with other numbers each time."""
    with TemporaryDirectory() as folder:
        assert ends_of_weights(range(first, stop), Path(folder)).total() == stop - first


def test_a_mutated_weight_file_is_taken_or_refused_in_words(tmp_path: Path) -> None:
    root = tmp_path / "folder"
    assert ends_of_weights(range(NUM_MUTATIONS), tmp_path)["refused"] > NUM_MUTATIONS // 2
    file = root / "model.safetensors"
    for header in (DEEP, b"[]", b'{"a": 1, "a": 2}'):
        file.write_bytes(len(header).to_bytes(8, "little") + header)
        assert end_of(root, tmp_path) == "refused"


def test_a_mutated_index_is_refused_in_words(tmp_path: Path) -> None:
    root = tmp_path / "folder"
    write_qwen3(root, num_shards=3)
    file = root / INDEX_FILE
    whole = json.loads(file.read_bytes())
    found = ends(root, file, lambda seed: mutated_index(whole, seed), tmp_path)
    assert found == {"refused": NUM_MUTATIONS}


def test_a_finished_folder_that_was_mutated_loads_or_is_refused_in_words(tmp_path: Path) -> None:
    """The reader of everything that this package wrote itself, which `neo ask FOLDER` opens too."""
    write_neo(tmp_path)
    file = tmp_path / "model.safetensors"
    whole = file.read_bytes()
    for seed in range(NUM_MUTATIONS // 3):
        file.write_bytes(mutated_weights(whole, seed))
        try:
            read_checkpoint(tmp_path)
        except (ReleasedFolderError, ValueError) as error:
            assert len(str(error)) < MAX_MESSAGE_CHARACTERS


@pytest.mark.parametrize("seed", range(0, NUM_MUTATIONS, 10))
def test_what_is_taken_is_what_the_library_reads(seed: int, tmp_path: Path) -> None:
    write_qwen3(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(mutated_weights(file.read_bytes(), seed))
    (scratch := tmp_path / "scratch").mkdir()
    if end_of(tmp_path, scratch) == "taken":
        with safe_open(file, framework="pt") as opened:
            assert all(opened.get_tensor(name).numel() for name in opened.keys())  # noqa: SIM118
