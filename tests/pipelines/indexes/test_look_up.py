"""Indexes in an object store: two requests a look-up, and the same answers as from a folder."""

import shutil
from pathlib import Path

import numpy as np

from cluster.local import make
from pipelines.indexes import look_up
from pipelines.indexes.build import make_indexes
from pipelines.indexes.look_up import open_index
from pipelines.indexes.subjects import IDS, bytes_digest
from pipelines.lineage.forward import trace_url
from pipelines.lineage.graph import all_heads
from stages.store.store import Store
from tests.fault_proxy import FaultProxy
from tests.worlds.listed_pairs import ListedPairsRecipe, list_pairs, table_of, url_of


def test_a_look_up_in_an_object_store_takes_two_requests(
    proxy: FaultProxy, bucket: str, tmp_path: Path, monkeypatch
) -> None:
    recipe = ListedPairsRecipe()
    pairs = make(list_pairs.bind("pairs", recipe), Store(tmp_path))
    there = Store(bucket)
    for key in Store(tmp_path).keys("artifacts"):
        there.upload(tmp_path / key, key)
    make_indexes(there, pairs.head)  # runs and pieces travel through the object store
    index = open_index(there, pairs.head, IDS)
    assert index is not None
    ids = [
        (first // 50, one) for first in range(0, 300, 50) for one in table_of(recipe, first)["sample_id"].to_pylist()
    ]
    before = proxy.num_seen("GET", ".bin")
    assert index.find(bytes_digest(ids[77][1])) == [ids[77][0]]
    assert proxy.num_seen("GET", ".bin") == before + 2
    monkeypatch.setattr(look_up, "FEW", 8)
    digests = np.array([bytes_digest(one) for _, one in ids], np.uint64)
    numbers, parts = index.find_many(digests)
    assert sorted(zip(numbers.tolist(), parts.tolist(), strict=True)) == [(n, part) for n, (part, _) in enumerate(ids)]
    assert proxy.num_seen("GET", ".bin") == before + 3, "many are found in whole pieces"
    monkeypatch.setattr(look_up, "MAX_NEAR_SLOTS", 1)
    assert ids[77][0] in index.find_near(bytes_digest(ids[77][1]) ^ 1 << 63, 16)
    assert proxy.num_seen("GET", ".bin") == before + 4, "so are those near where many slots are"
    seen = proxy.num_seen("GET", "samples.parquet")
    (sighting,) = trace_url(there, url_of(60), all_heads(there))
    assert len(sighting.details()["samples"]) == 1 and proxy.num_seen("GET", "samples.parquet") == seen + 1
    shutil.rmtree(tmp_path / "indexes", ignore_errors=True)
    (again,) = trace_url(Store(tmp_path), url_of(60), all_heads(Store(tmp_path)))
    assert again.details() == sighting.details()
