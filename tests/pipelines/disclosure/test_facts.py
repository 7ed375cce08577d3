"""What a step fetched is told from what it read, by what it asked for: of films, pictures, and pairs of others."""

import json
from pathlib import Path

from cluster.local import make
from pipelines.disclosure.facts import TrainingFacts
from stages.artifacts.artifact import Artifact
from stages.collect_images import CollectImagesRecipe, collect_images
from stages.contract import Source
from stages.store.store import Store
from tests.pipelines.disclosure.test_domains import by_brute_force
from tests.stages.importing.conftest import PHOTO, small_web
from tests.worlds.cut_world import cut
from tests.worlds.listed_pairs import ListedPairsRecipe
from tests.worlds.web_world import WebRecipe, WeightsRecipe, fetch_web, learn_both, read_web

LOOPBACK = {"allow_hosts": ("127.0.0.1",)}


def facts_of(made: Artifact, scratch: Path) -> TrainingFacts:
    scratch.mkdir()
    return TrainingFacts(made.store, made.stage, made.fingerprint, scratch)


def pictures_of(tmp_path: Path, name: str, image: str, **fields: object) -> Artifact:
    talk = {"conversations": [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "x"}], "image": image}
    (tmp_path / f"{name}.json").write_text(json.dumps([talk]))
    sources = {"chat": str(tmp_path / f"{name}.json"), "photos": str(tmp_path / "photos")}
    recipe = CollectImagesRecipe.model_validate({"source": Source("chat"), "images": Source("photos"), **fields})
    return make(collect_images.bind(name, recipe), tmp_path / "store", sources=sources).as_kind(Artifact)


def test_films_and_pictures_are_crawled_where_addresses_were_asked_for(tmp_path: Path, films_web: str) -> None:
    (tmp_path / "table.csv").write_text(f"video\n{films_web}/a.mp4\n")
    asked = facts_of(cut(tmp_path, tmp_path / "table.csv", root="a", **LOOPBACK), tmp_path / "1")
    assert [one.head.stage for one in asked.crawled] == ["cut_clips"]
    assert asked.domains.top(9)[0].domain == "127.0.0.1" and asked.domains_of_others.num_urls == 0
    read = facts_of(cut(tmp_path, tmp_path / "films", root="b"), tmp_path / "2")
    assert read.entrances and not read.crawled and read.clip_hours == asked.clip_hours > 0

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/0.jpg").write_bytes(PHOTO)
    local = facts_of(pictures_of(tmp_path, "local", "0.jpg"), tmp_path / "3")
    assert local.num_images == 1 and local.entrances and not local.crawled
    with small_web() as web:
        fetched = facts_of(pictures_of(tmp_path, "fetched", f"{web}/0.jpg", **LOOPBACK), tmp_path / "4")
    assert fetched.num_images == 1 and [one.head.stage for one in fetched.crawled] == ["collect_images"]


def test_domains_of_what_others_had_fetched_are_a_list_of_their_own(tmp_path: Path) -> None:
    own = fetch_web.bind("own", WebRecipe(num_pairs=100))
    others = read_web.bind("others", ListedPairsRecipe(num_pairs=40))
    weights = make(learn_both.bind("weights", WeightsRecipe(), own, others), Store(tmp_path / "store"))
    facts = facts_of(weights.as_kind(Artifact), tmp_path / "scratch")
    assert [one.head.stage for one in facts.crawled] == ["fetch_web"]
    assert facts.domains.top(99) == by_brute_force(WebRecipe(num_pairs=100))
    assert facts.domains_of_others.top(99) == by_brute_force(WebRecipe(num_pairs=40))
