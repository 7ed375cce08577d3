"""A config.json that was damaged or made to harm is taken, or refused in one clean sentence; nothing raw gets out."""

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import astuple
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from neo_model.config import NeoConfig
from stages.commit.draft import Draft
from stages.contract import PartDraft, StageError
from stages.model_folders.folder import ForeignFolder
from stages.model_folders.neo_folder import inspect_neo
from stages.model_folders.qwen3_folder import inspect_qwen3
from stages.origins.pinning import pin_source
from tests.worlds.model_folders import neo_config, neo_json, qwen3_json, write_neo, write_qwen3
from tests.worlds.mutated_configs import MANY_DIGITS, NESTED_DEEPLY, mutated

NUM_MUTATIONS = 250
MAX_MESSAGE_CHARACTERS = 2_000
Inspect = Callable[[ForeignFolder, PartDraft], None]


def end_of(inspect: Inspect, root: Path, content: bytes, scratch: Path) -> str:
    """`taken` or `refused`, after what was said or made of it was looked at. Lets out whatever is no refusal."""
    (root / "config.json").write_bytes(content)
    draft = Draft(scratch=scratch, report=lambda _: None)
    try:
        inspect(ForeignFolder(pin_source("mine", [str(root)])), draft)
    except StageError as error:
        said = str(error)
        assert said.replace("\n", "").isprintable() and len(said) < MAX_MESSAGE_CHARACTERS, said[
            :MAX_MESSAGE_CHARACTERS
        ]
        return "refused"
    return "taken"


def ends_of(kind: str, numbers: range, folder: Path) -> Counter[str]:
    """How mutations of the `config.json` of a NEO or a Qwen3 end, in a scratch folder."""
    root = folder / "folder"
    if kind == "neo":
        write_neo(root)
        inspect: Inspect = partial(inspect_neo, published=None, num_prebuffer_layers=None, own_head=False)
    else:
        write_qwen3(root)
        inspect = partial(inspect_qwen3, published=None, own_head=False)
    whole = json.loads((root / "config.json").read_bytes())
    ends: Counter[str] = Counter()
    for number in numbers:
        scratch = folder / str(number)
        scratch.mkdir()
        ends[end_of(inspect, root, mutated(whole, number), scratch)] += 1
    for content in (NESTED_DEEPLY, MANY_DIGITS, b"[]", b"\xff", b"", b"NaN"):
        assert end_of(inspect, root, content, folder) == "refused"
    return ends


def check(first: int, stop: int) -> None:
    """What `make test-hostile` calls, with other numbers each time."""
    for kind in ("neo", "qwen3"):
        with TemporaryDirectory() as folder:
            assert ends_of(kind, range(first, stop), Path(folder)).total() == stop - first


@pytest.mark.parametrize("kind", ["neo", "qwen3"])
def test_a_mutated_config_is_taken_or_refused_in_words(kind: str, tmp_path: Path) -> None:
    ends = ends_of(kind, range(NUM_MUTATIONS), tmp_path)
    assert ends["taken"] > NUM_MUTATIONS // 20 and ends["refused"] > NUM_MUTATIONS // 2


def test_what_is_taken_is_finite_and_within_bounds() -> None:
    whole, num_taken = neo_json(neo_config(), "train_kit"), 0
    for seed in range(4 * NUM_MUTATIONS):
        try:
            config = NeoConfig.from_released(json.loads(mutated(whole, seed)))
        except ValueError as error:
            assert len(str(error)) < MAX_MESSAGE_CHARACTERS
            continue
        num_taken += 1
        assert all(math.isfinite(value) and 0 <= value <= 1e12 for value in astuple(config))
        assert config.num_layers <= 1_000 and config.theta_t >= 1
    assert num_taken > NUM_MUTATIONS // 5


def test_so_is_what_is_taken_of_a_plain_language_model() -> None:
    ids = {"image_start_id": 1, "image_context_id": 2, "image_end_id": 3}
    for seed in range(4 * NUM_MUTATIONS):
        try:
            config = NeoConfig.from_qwen3(json.loads(mutated(qwen3_json(), seed)), num_prebuffer_layers=1, **ids)
        except ValueError as error:
            assert len(str(error)) < MAX_MESSAGE_CHARACTERS
            continue
        assert all(math.isfinite(value) and 0 <= value <= 1e12 for value in astuple(config))
