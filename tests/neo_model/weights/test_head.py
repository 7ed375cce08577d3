"""A stored head is the table where it equals it, and contradicts a tied configuration where it does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from neo_model.weights.head import HeadError, is_tied, states_tied
from neo_model.weights.released import HEAD, load_model, read_checkpoint
from neo_model.weights.tensor_report import TensorMismatchError
from tests.worlds.model_folders import Head, neo_config, write_neo

BOTH_WAYS = {"tie_word_embeddings": True, "llm_config": {"tie_word_embeddings": False}}


@pytest.mark.parametrize(
    ("config", "stated"),
    [
        ({"tie_word_embeddings": True}, True),
        ({"llm_config": {"tie_word_embeddings": True}}, True),
        ({"tie_word_embeddings": False, "llm_config": {"tie_word_embeddings": False}}, False),
        ({}, False),
        (BOTH_WAYS, None),
    ],
)
def test_what_a_configuration_says(config: dict, stated: bool | None) -> None:
    assert states_tied(config) is stated


@pytest.mark.parametrize(
    ("stated", "is_stored", "differs", "own_head", "tied"),
    [
        (True, False, True, False, True),
        (False, False, True, False, False),
        (None, False, True, False, True),
        (True, True, False, False, True),
        (True, True, True, True, False),
        (False, True, False, False, False),
        (None, True, False, False, True),
        (None, True, True, False, False),
    ],
)
def test_the_rule(stated: bool | None, is_stored: bool, differs: bool, own_head: bool, tied: bool) -> None:
    assert is_tied(stated, is_stored=is_stored, differs=lambda: differs, own_head=own_head) is tied


def test_a_head_that_contradicts_is_refused() -> None:
    with pytest.raises(HeadError, match=r"tie_word_embeddings true.* differs .*own_head=True"):
        is_tied(True, is_stored=True, differs=lambda: True)


@pytest.mark.parametrize(("head", "num_shards"), [("absent", 1), ("equal", 1), ("equal", 3)])
def test_a_stored_copy_of_the_table_is_the_table(head: Head, num_shards: int, tmp_path: Path) -> None:
    tensors = write_neo(tmp_path, head=head, num_shards=num_shards)
    config, read = read_checkpoint(tmp_path)
    assert config.tied
    assert read.keys() == tensors.keys() - {HEAD}
    assert all(torch.equal(value, tensors[name]) for name, value in load_model(tmp_path).state_dict().items())


def test_a_released_folder_whose_head_contradicts_it_is_not_loaded(tmp_path: Path) -> None:
    write_neo(tmp_path, head="different")
    with pytest.raises(HeadError, match="differs"):
        load_model(tmp_path)


def test_sections_that_disagree_are_settled_by_the_weights(tmp_path: Path) -> None:
    for head, tied in (("equal", True), ("different", False)):
        folder = tmp_path / head
        write_neo(folder, head=head)  # type: ignore[arg-type]
        written = json.loads((folder / "config.json").read_text())
        written["llm_config"]["tie_word_embeddings"] = False
        (folder / "config.json").write_text(json.dumps(written))
        assert load_model(folder).config.tied is tied


def test_an_untied_folder_without_head_is_missing_it(tmp_path: Path) -> None:
    config = neo_config()
    write_neo(tmp_path, config=config)
    (tmp_path / "config.json").write_text(json.dumps(neo_config(tied=False).to_released()))
    with pytest.raises(TensorMismatchError, match=f"1 missing: {HEAD}"):
        load_model(tmp_path)
