"""Indexes made by Ray are those that one process makes; a cluster that is not there is told."""

import json
from pathlib import Path

import pytest

from tests.cluster.own_process import run_main
from tests.pipelines.conftest import TOYS, NeoSite


def test_a_cluster_that_cannot_be_reached_is_told_with_the_way_without_it(
    site: NeoSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert site.neo("run", f"{TOYS}:data").code == 0
    site.file.write_text(site.file.read_text() + '[ray]\naddress = "127.0.0.1:9"\n')
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # also where another test has Ray up in this process
    refused = site.neo("index")
    assert refused.code == 3 and "no Ray at '127.0.0.1:9'" in refused.err, refused
    assert "neo index --here" in refused.last_line
    assert site.neo("index", "--here").code == 0


@pytest.mark.kill
def test_machines_make_the_same_indexes_as_one_process(tmp_path: Path) -> None:
    run_main("tests.pipelines.indexes.index_on_ray", tmp_path, 300)
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["machines"] == told["alone"] and len(told["alone"]) == 4
