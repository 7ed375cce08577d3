"""Where one URL or sample went, in all artifacts or behind one."""

from tests.pipelines.conftest import TOYS, NeoSite
from tests.worlds.pipeline_world import sample_id, url_of

URL = url_of(5)


def test_a_url_and_the_beginning_of_its_id_are_followed_alike(site: NeoSite) -> None:
    site.neo("run", f"{TOYS}:data")
    by_url = site.neo("where", URL, "--json").json
    assert [one["step"] for one in by_url["sightings"]] == ["pairs", "kept", "mix", "rows"]
    behind = site.neo("where", URL, "--behind", "data/kept", "--json").json
    assert [one["step"] for one in behind["sightings"]] == ["pairs", "kept"]
    whole = sample_id(URL).hex()
    assert site.neo("where", whole, "--json").json["sightings"] == by_url["sightings"]
    assert site.neo("where", whole[:9], "--json").json["sample_id"] == whole


def test_what_is_neither_a_url_nor_an_id_is_said(site: NeoSite) -> None:
    site.neo("run", f"{TOYS}:data")
    told = site.neo("where", "xyz")
    assert told.code == 2 and "'xyz' is no sample id" in told.err and "and no URL" in told.err
    assert "no URL table in " in site.neo("where", "http://toy.invalid/none.jpg").err
