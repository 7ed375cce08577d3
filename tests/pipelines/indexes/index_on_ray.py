"""Makes the indexes of one artifact with a Ray of this machine, and without.

A test runs `main` in a process of its own, which has no other Ray.
"""

import json
from contextlib import nullcontext
from pathlib import Path

from cluster.local import make
from cluster.parts.machines import machines_of
from cluster.site import load_site
from pipelines.indexes import build
from pipelines.indexes.build import forget_indexes, make_indexes
from pipelines.indexes.on_machines import spread_on
from stages.store.store import Store
from tests.worlds.listed_pairs import ListedPairsRecipe, list_pairs


def main(folder: Path) -> None:
    """Write what was made, each time, to `told.json`."""
    build.ROWS_PER_GROUP = 100  # type: ignore[misc]
    store = Store(folder / "store")
    pairs = make(list_pairs.bind("pairs", ListedPairsRecipe()), store)
    alone = [one.model_dump() for one in make_indexes(store, pairs.head).indexes]
    forget_indexes(store, pairs.head)
    said: list[str] = []
    with machines_of(load_site("embedded"), "index") as machines:
        made = make_indexes(store, pairs.head, spread=spread_on(machines, said.append, nullcontext))
    told = {"alone": alone, "machines": [one.model_dump() for one in made.indexes], "said": said}
    (folder / "told.json").write_text(json.dumps(told))
