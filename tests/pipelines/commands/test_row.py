"""The samples of a packed row, or why there is no such row."""

from tests.pipelines.conftest import TOYS, NeoSite


def test_a_row_lists_its_samples_and_the_next_command_follows_the_first(site: NeoSite) -> None:
    site.neo("run", f"{TOYS}:data")
    document = site.neo("row", "data/rows", "2", "--json").json
    first = document["documents"][0]["sample_id"]
    assert document["row"] == 2
    assert site.neo("row", "data/rows", "2").last_line == f"Next: neo where {first} --site {site.file}"


def test_a_row_that_is_not_there_and_what_has_no_rows_are_said(site: NeoSite) -> None:
    site.neo("run", f"{TOYS}:data")
    beyond = site.neo("row", "data/rows", "4")
    assert beyond.code == 2 and "has the rows 0 to 3" in beyond.err
    other = site.neo("row", "data/kept", "0")
    assert other.code == 2 and "is KeptPairs, no packed rows" in other.err
