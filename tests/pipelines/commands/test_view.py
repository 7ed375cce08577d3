"""`neo view`, as it is typed: real pairs laid out for each loader."""

import json
from pathlib import Path

import webdataset

from cluster.local import make
from stages.store.metadata import open_store
from tests.pipelines.conftest import NeoSite
from tests.worlds.mixture_world import KEPT, PAIRS


def made(site: NeoSite, step=PAIRS) -> str:
    """The fingerprint of pairs in the store of the site."""
    open_store(site.store)
    return make(step, site.store).short


def test_a_view_says_what_it_costs_how_it_is_read_and_is_continued(site: NeoSite, tmp_path: Path) -> None:
    ref, out = made(site), tmp_path / "out"
    said = site.neo("view", ref, str(out), "--wds")
    assert said.code == 0 and "54 samples: 3 tars are linked." in said.out
    assert f'webdataset.WebDataset("{out}/{{000000..000002}}.tar"' in said.out
    document = site.neo("view", ref, str(out), "--wds", "--json").json
    assert document["there"] == 3 and document["num_samples"] == 54
    samples = list(webdataset.WebDataset(f"{out}/{document['pattern']}", shardshuffle=False))
    assert len(samples) == 54


def test_what_verdicts_left_is_written_and_each_loader_gets_its_files(site: NeoSite, tmp_path: Path) -> None:
    ref = made(site, KEPT)
    said = site.neo("view", ref, str(tmp_path / "hf"), "--hf")
    assert "3 shards are written: no tar holds these samples alone" in said.out and "or more)" in said.out
    card = (tmp_path / "hf" / "README.md").read_text()
    assert card.startswith("---\nconfigs:\n- config_name: default\n") and "path: data/*.tar" in card
    assert site.neo("view", ref, str(tmp_path / "energon"), "--energon").code == 0
    info = json.loads((tmp_path / "energon" / ".nv-meta" / ".info.json").read_text())
    assert list(info["shard_counts"]) == ["000000.tar", "000001.tar", "000002.tar"]


def test_wrong_words_are_refused_before_anything_is_written(site: NeoSite, tmp_path: Path) -> None:
    ref, out = made(site), tmp_path / "out"
    for words in ([], ["--wds", "--hf"], ["--wds", "--copy", "--hard-link"]):
        said = site.neo("view", ref, str(out), *words)
        assert said.code == 2 and "neo view --help" in said.last_line
    assert site.neo("view", "none/such", str(out), "--wds").code == 2
    assert not out.exists()
