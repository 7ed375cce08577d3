"""What an artifact holds stands in columns, so that counts can be compared down a table."""

from tests.pipelines.conftest import TOYS, NeoSite


def test_counts_of_items_stand_in_columns_of_their_own(site: NeoSite) -> None:
    assert site.neo("run", f"{TOYS}:data").code == 0
    heading, *rows = site.neo("trace", "data/rows").out.splitlines()[:5]
    assert heading.split() == ["step", "artifact", "kind", "parts", "kept", "dropped", "failed"]
    nodes = {node["step"]: node for node in site.neo("trace", "data/rows", "--json").json["nodes"]}
    cells = {row.split()[1]: row.split()[3:] for row in rows}
    assert cells["pairs"][-1] == str(sum(nodes["pairs"]["items"]["failed"].values()))
    assert cells["kept"][1:] == [
        f"{nodes['kept']['num_parts']:,}",
        f"{nodes['kept']['items']['kept']:,}",
        *cells["kept"][3:],
    ]
