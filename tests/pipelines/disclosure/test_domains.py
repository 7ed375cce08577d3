"""Content by domain is what brute force over the rows counts, in memory and through files."""

import csv
from collections import defaultdict
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.local import make
from pipelines.disclosure.domains import (
    NO_HOST_NAME,
    DomainCounts,
    DomainSum,
    Fetched,
    fetched_by_domain,
    write_domains,
)
from pipelines.indexes.domains import domain_of
from pipelines.indexes.subjects import indexed_of
from pipelines.indexes.tables import PartTable, listed
from stages.artifacts.artifact import Artifact
from stages.store.store import Store
from stages.surfaces.visible import visible
from tests.worlds.web_world import WebRecipe, fetch_web, web_table

RECIPE = WebRecipe(num_pairs=600)


def by_brute_force(recipe: WebRecipe) -> list[tuple[str, int, int]]:
    """Domain, bytes and URLs, row by row: a URL that stands twice in a part counts once, with its largest picture."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for first in range(0, recipe.num_pairs, recipe.num_rows_per_part):
        urls: dict[str, int] = {}
        for row in web_table(recipe, first).to_pylist():
            if row["verdict"] == "kept":
                urls[row["url"]] = max(urls.get(row["url"], 0), row["image_size_bytes"])
        for url, size_bytes in urls.items():
            one = sums[domain_of(urlsplit(url).hostname or "")]
            one[0] += size_bytes
            one[1] += 1
    return sorted(((name, *one) for name, one in sums.items()), key=lambda one: (-one[1], one[0]))


@pytest.mark.parametrize("max_in_memory", [1_000, 5, 0])
def test_counts_are_those_of_brute_force_in_memory_and_through_files(tmp_path: Path, max_in_memory: int) -> None:
    store = Store(tmp_path / "store")
    artifact = make(fetch_web.bind("pairs", RECIPE), store).as_kind(Artifact)
    indexed = indexed_of(artifact.head)
    assert indexed is not None
    tables = listed(artifact, indexed)
    (tmp_path / "scratch").mkdir()
    counts = DomainCounts(tmp_path / "scratch", max_in_memory)
    counts.add_tables(store, (tables[number] for number in range(len(tables))))
    ranked, expected = counts.ranked(), by_brute_force(RECIPE)
    assert any((tmp_path / "scratch").iterdir()) == (max_in_memory < 1_000)
    assert ranked.top(1_000) == expected and ranked.top(3) == expected[:3]
    assert ranked.num_domains == len(expected) == 34
    assert (ranked.size_bytes, ranked.num_urls) == tuple(sum(one[place] for one in expected) for place in (1, 2))


def test_shares_are_rounded_up_and_capped(tmp_path: Path) -> None:
    counts = DomainCounts(tmp_path)
    counts.add(Fetched({f"d{number:05}.org": (number % 7, 1) for number in range(30_010)}, 0.0))
    ranked = counts.ranked()
    assert (ranked.num_listed(0.10), ranked.num_listed(0.05, 1000), ranked.num_listed(0)) == (3001, 1000, 0)
    top = ranked.top(5)
    assert [one.size_bytes for one in top] == [6] * 5 and [one.domain for one in top] == sorted(
        one.domain for one in top
    )


def fetched(tmp_path: Path, table: pa.Table) -> Fetched:
    pq.write_table(table, tmp_path / "samples.parquet")
    part = PartTable("00000", "samples.parquet", (tmp_path / "samples.parquet").stat().st_size, ())
    return fetched_by_domain(Store(tmp_path), part)


def test_clips_count_what_is_stored_of_them_and_how_long_they_are(tmp_path: Path) -> None:
    film = "https://a.example.org/1.mp4"
    table = pa.table(
        {
            "url": [film, film, "HTTP://me@B.Example.ORG:80/2", "films:3.mp4", "https://x.org/4"],
            "verdict": ["kept"] * 4 + ["dropped"],
            "start_seconds": [0.0, 2.0, 0.0, 1.0, None],
            "end_seconds": [2.0, 5.5, 1.0, 2.0, None],
            "packets_size_bytes": pa.array([None, None, 100, 7, None], pa.int64()),
            "frame_sizes_bytes": pa.array([[10, 20], [30], None, None, None], pa.list_(pa.int32())),
        }
    )
    assert fetched(tmp_path, table) == Fetched({"example.org": (160, 2)}, 7.5)


def test_tables_without_addresses_or_of_none_count_nothing(tmp_path: Path) -> None:
    assert fetched(tmp_path, pa.table({"text": ["a"], "verdict": ["kept"]})) == Fetched({}, 0.0)
    empty = pa.table({"url": pa.array([], pa.string()), "verdict": pa.array([], pa.string())})
    assert fetched(tmp_path, empty) == Fetched({}, 0.0)
    odd = pa.table({"url": ["https:///no-host", None, "pairs:a.jpg", "https://10.0.0.7/a"], "verdict": ["kept"] * 4})
    assert fetched(tmp_path, odd) == Fetched({"10.0.0.7": (0, 1)}, 0.0)


def test_hosts_that_no_server_can_have_are_one_entry(tmp_path: Path) -> None:
    odd = ["https://=hyperlink(1)/a", "https://a\tb.com/", "http://a\r\nb.com/", "http://a b.example.org/", "http://./"]
    good = [
        "http://a_b.Example.org/",
        "http://M\u00fcnchen.example/",
        "https://[2001:DB8::1]/a",
        "https://-a.example.org",
    ]
    urls = [*odd, *good]
    table = pa.table({"url": urls, "verdict": ["kept"] * len(urls), "image_size_bytes": [10] * len(urls)})
    assert fetched(tmp_path, table).sums == {
        NO_HOST_NAME: (50, 5),
        "example.org": (20, 2),
        "xn--mnchen-3ya.example": (10, 1),
        "[2001:db8::1]": (10, 1),
    }


def test_files_hold_any_name_and_cells_are_no_formulas(tmp_path: Path) -> None:
    names = ["a\tb.com", "a\r\n\u2028b.com", "=1+1", "+a", "-a.org", "@a", "\ta", 'a"b', "m\u00fcnchen"]
    counts = DomainCounts(tmp_path, max_in_memory=0)
    for _ in range(2):
        counts.add(Fetched(dict.fromkeys(names, (1, 1)), 0.0))
    ranked = counts.ranked().top(100)
    assert ranked == sorted(DomainSum(name, 2, 2) for name in names)
    write_domains(tmp_path / "a.csv", ranked)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        _, *cells = [row[0] for row in csv.reader(file)]
    assert [cell.removeprefix("'") for cell in cells] == [visible(name) for name in sorted(names)]
    assert sum(cell.startswith("'") for cell in cells) == 5 and not any(cell[0] in "=+-@\t" for cell in cells)
