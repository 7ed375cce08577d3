"""What tests of the server share: a model that has learned colours, and one that talks without end."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from neo_model.inputs.conversation import special_ids
from neo_model.model import NeoModel
from stages.evaluation.answering import load_model_folder
from tests.neo_model.tiny import lively_model, tiny_config
from tests.worlds.colour_world import make_colour_world, tiny_tokenizer

Loaded = tuple[NeoModel, Tokenizer]


@pytest.fixture(scope="session")
def colour_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that knows red, green and blue, wide and tall."""
    folder = tmp_path_factory.mktemp("serving")
    world = make_colour_world(folder / "store")
    return world.open(world.checkpoint).copy_to(folder / "model")


@pytest.fixture(scope="session")
def colours(colour_folder: Path) -> Loaded:
    return load_model_folder(colour_folder)


@pytest.fixture(scope="session")
def talker() -> Loaded:
    """Random weights: an answer goes on until its limit, so that it can be interrupted."""
    tokenizer = tiny_tokenizer()
    ids = special_ids(tokenizer)
    special = {"image_start_id": ids.image_start, "image_context_id": ids.image_context, "image_end_id": ids.image_end}
    return lively_model(tiny_config(vocab_size=352, min_pixels_px=1024, max_pixels_px=8192, **special)), tokenizer
