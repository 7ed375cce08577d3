"""What tests of stages share: carrying out a step on this machine, a small toy world downloaded once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from cluster.local import make
from stages.artifacts.kinds import KeptPairs, RawPairs
from stages.contract import Event, Source, Step
from stages.download_pairs import DownloadPairsRecipe, download_pairs
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.store.store import Store
from stages.toy_world.world import ToyWorld
from tests.worlds.colour_world import ColourWorld, make_colour_world

NUM_TOY_IMAGES = 260
"""One deck of pictures with all oddities, and some more."""


TOY_QUERY = f"num_train_images={NUM_TOY_IMAGES}&num_heldout_images=20&num_documents=50&num_text_conversations=40"
TOY_SOURCES = {
    f"toy_{name}": f"toy:{name}.jsonl?{TOY_QUERY}"
    for name in ("urls", "heldout_urls", "documents", "conversations", "questions")
}
"""Name of each source of the toy world to where its file lies."""


def carried_out(step: Step[Any], store: Store, events: list[Event] | None = None) -> Any:
    """Make the step's artifact from those of the steps it reads, which are committed; returns it."""
    return make(step, store, sources=TOY_SOURCES, post=(events if events is not None else []).append)


@dataclass(frozen=True)
class ToyPairs:
    """A small toy world, downloaded and filtered."""

    world: ToyWorld
    store: Store
    raw_step: Step[RawPairs]
    raw: RawPairs
    heldout_step: Step[RawPairs]
    kept_step: Step[KeptPairs]
    kept: KeptPairs


@pytest.fixture(scope="session")
def carry() -> Callable[..., Any]:
    return carried_out


@pytest.fixture(scope="session")
def toy_pairs(tmp_path_factory: pytest.TempPathFactory) -> ToyPairs:
    """Downloaded with little patience: the stalled and the dripping picture cost six seconds together."""
    store = Store(tmp_path_factory.mktemp("toy-pairs"))
    world = ToyWorld(
        num_train_images=NUM_TOY_IMAGES, num_heldout_images=20, num_documents=50, num_text_conversations=40
    )
    recipe = DownloadPairsRecipe(source=Source("toy_urls"), num_urls_per_part=40, deadline_seconds=6, num_tries=1)
    raw_step = download_pairs.bind("pairs", recipe)
    heldout_step = download_pairs.bind("heldout_pairs", DownloadPairsRecipe(source=Source("toy_heldout_urls")))
    kept_step = filter_pairs.bind("kept", FilterPairsRecipe(), raw_step)
    raw = carried_out(raw_step, store)
    carried_out(heldout_step, store)
    return ToyPairs(world, store, raw_step, raw, heldout_step, kept_step, carried_out(kept_step, store))


@pytest.fixture(scope="session")
def colour_world(tmp_path_factory: pytest.TempPathFactory) -> ColourWorld:
    return make_colour_world(tmp_path_factory.mktemp("colour_world"))
