"""Where one URL, sample, picture, domain or list of them went, in all artifacts or behind one, by index or not."""

import hashlib
import json

import pytest

from cluster.local import make
from pipelines.lineage import sought
from pipelines.lineage.forward import find_samples
from pipelines.lineage.graph import all_heads
from tests.pipelines.conftest import TOYS, NeoSite
from tests.worlds.listed_pairs import ListedPairsRecipe, list_pairs, table_of
from tests.worlds.listed_pairs import url_of as url_listed
from tests.worlds.pipeline_world import sample_id, url_of

URL = url_of(5)
RECIPE = ListedPairsRecipe()


@pytest.fixture
def listed(site: NeoSite) -> NeoSite:
    """300 pairs in 6 parts."""
    make(list_pairs.bind("pairs", RECIPE), site.store)
    return site


def rows() -> list[dict]:
    return [row for first in range(0, 300, 50) for row in table_of(RECIPE, first).to_pylist()]


def test_a_url_and_the_beginning_of_its_id_are_followed_alike(site: NeoSite) -> None:
    site.neo("run", f"{TOYS}:data")
    by_url = site.neo("where", URL, "--json").json
    assert [one["step"] for one in by_url["sightings"]] == ["pairs", "kept", "mix", "rows"]
    behind = site.neo("where", URL, "--behind", "data/kept", "--json").json
    assert [one["step"] for one in behind["sightings"]] == ["pairs", "kept"]
    whole = sample_id(URL).hex()
    assert site.neo("where", whole, "--json").json["sightings"] == by_url["sightings"]
    assert site.neo("where", whole[:9], "--json").json["sample_id"] == whole
    site.neo("index")
    again = site.neo("where", "--sample", whole[:9], "--json").json
    assert again["sightings"] == by_url["sightings"]
    assert (len(by_url["unindexed"]), again["unindexed"]) == (1, [])
    everywhere = site.neo("where", "--domain", "toy.invalid", "--json").json["sightings"]
    assert len(everywhere[0]["details"]["samples"]) == 12 and everywhere[-1]["step"] == "rows"


def test_what_is_neither_a_url_nor_an_id_is_said(site: NeoSite) -> None:
    site.neo("run", f"{TOYS}:data")
    told = site.neo("where", "xyz")
    assert told.code == 2 and "'xyz' is no sample id" in told.err and "and no URL" in told.err
    assert "no URL table in " in site.neo("where", "http://toy.invalid/none.jpg").err
    assert "say one of URL|ID, --sample" in site.neo("where").err
    assert ", not 2" in site.neo("where", URL, "--domain", "toy.invalid").err
    assert "no URL in " in site.neo("where", "--domain", "invalid.toy").err
    assert "is no host" in site.neo("where", "--domain", "http://toy.invalid/").err
    assert "cannot be read" in site.neo("where", "--picture", "/nothing.jpg").err


def test_with_and_without_an_index_the_same_is_found_and_it_is_what_the_tables_hold(listed: NeoSite) -> None:
    url, host = url_listed(3), "shop3.co.uk"
    file = listed.folder / "picture.bin"
    file.write_bytes(b"picture 1")
    asks = {
        ("where", url): lambda row: row["url"] == url,
        ("where", "--domain", host): lambda row: row["url"].split("/")[2].endswith(f".{host}"),
        ("where", "--domain", f"img0.{host}"): lambda row: row["url"].split("/")[2] == f"img0.{host}",
        ("where", "--picture", str(file)): lambda row: row["sha256"] == hashlib.sha256(b"picture 1").digest(),
    }
    scanned = {ask: listed.neo(*ask, "--json").json for ask in asks}
    assert "Read without an index: list_pairs (list_pairs/" in listed.neo("where", url).out
    listed.neo("index")
    for ask, is_wanted in asks.items():
        looked_up = listed.neo(*ask, "--json").json
        assert looked_up["sightings"] == scanned[ask]["sightings"] and not looked_up["unindexed"]
        found = [row["sample_id"] for row in looked_up["sightings"][0]["details"]["samples"]]
        assert found == [row["sample_id"].hex() for row in rows() if is_wanted(row)] != []
    assert "Read without" not in listed.neo("where", url).out


def test_a_list_says_what_was_found_of_each_line_and_what_was_not(listed: NeoSite) -> None:
    held = rows()
    lines = [
        held[7]["url"],
        held[8]["sample_id"].hex(),
        held[11]["sha256"].hex(),
        "http://nowhere.example/x",
        "",
        held[7]["url"],
    ]
    file = listed.folder / "lines.txt"
    file.write_text("\n".join(lines))
    scanned = listed.neo("where", "--file", str(file), "--json").json
    listed.neo("index")
    told = listed.neo("where", "--file", str(file), "--json").json
    assert {**told, "unindexed": []} == {**scanned, "unindexed": []}
    assert told["num_asked"] == 4 and told["missing"] == ["http://nowhere.example/x"]
    assert {one["asked"]: set(one["sample_ids"]) for one in told["found"]} == {
        lines[0]: {row["sample_id"].hex() for row in held if row["url"] == lines[0]},
        lines[1]: {lines[1]},
        lines[2]: {row["sample_id"].hex() for row in held if row["sha256"] == held[11]["sha256"]},
    }
    shown = listed.neo("where", "--file", str(file))
    assert "  not found: http://nowhere.example/x" in shown.out and "3 of 4 lines of " in shown.out
    file.write_text("http://nowhere.example/x\n")
    assert "none of the 1 lines" in listed.neo("where", "--file", str(file)).err


def test_more_than_can_be_followed_is_refused(listed: NeoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sought, "MAX_ROWS", 5)
    told = listed.neo("where", "--domain", "shop3.co.uk")
    assert told.code == 2 and "more than 5 samples are what was asked for" in told.err


def test_many_tables_without_an_index_are_told_before_they_are_read(
    listed: NeoSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.commands.unindexed.MANY_TABLES", 6)
    assert "has no index: its 6 tables are read. `neo index` makes one." in listed.neo("where", url_listed(3)).out


def test_of_ids_that_begin_alike_few_tables_are_read(listed: NeoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    every = {row["sample_id"] for row in rows() if row["sample_id"].hex().startswith("9")}
    assert find_samples(listed.store, "9", all_heads(listed.store)) == every
    listed.neo("index")
    search = sought.Search()
    assert find_samples(listed.store, "9", all_heads(listed.store), search) == every and not search.num_unread
    monkeypatch.setattr("pipelines.lineage.forward.MAX_PARTS_NAMED", 2)
    assert find_samples(listed.store, "9", all_heads(listed.store), search) < every and search.num_unread == 4


def test_a_sentence_is_followed_and_too_few_words_are_refused(listed: NeoSite) -> None:
    text = "Red CHAIR, number 3"
    scanned = listed.neo("where", "--text", text)
    assert "`neo index --text` makes indexes." in scanned.out and scanned.code == 0
    told = listed.neo("index", "--text")
    assert told.code == 0 and "texts " in told.out
    document = listed.neo("where", "--text", text, "--json").json
    assert document["text"] == text and not document["unindexed"]
    found = [row["sample_id"] for row in document["sightings"][0]["details"]["samples"]]
    assert found == [row["sample_id"].hex() for row in rows() if "red chair, number 3," in row["caption"]] != []
    assert "fewer than 3 words" in listed.neo("where", "--text", "red chair").err
    assert "no caption, text or message in " in listed.neo("where", "--text", "words that nobody wrote").err


def test_pictures_that_look_alike_need_a_step_that_compared_looks(listed: NeoSite) -> None:
    file = listed.folder / "picture.bin"
    file.write_bytes(b"picture 1")
    assert "takes `dedup_pairs` with `max_near_bits`" in listed.neo("where", "--picture", str(file), "--near", "3").err
    assert "name one" in listed.neo("where", url_listed(3), "--near", "3").err


def test_above_what_is_registered_the_same_is_found_with_and_without_an_index(listed: NeoSite) -> None:
    asks = {name: listed.neo("where", "--domain", name, "--json").json for name in ("co.uk", "uk", ".Shop3..co.uk.")}
    listed.neo("index")
    for name, scanned in asks.items():
        told = listed.neo("where", "--domain", name, "--json").json
        assert told["sightings"] == scanned["sightings"] and bool(told["unindexed"]) is name.endswith("uk")
    ends = [row["sample_id"].hex() for row in rows() if row["url"].split("/")[2].endswith(".co.uk")]
    assert [row["sample_id"] for row in asks["uk"]["sightings"][0]["details"]["samples"]] == ends
    shown = listed.neo("where", "--domain", "co.uk").out
    assert "An index has the domains below co.uk, not co.uk itself" in shown and "makes indexes" not in shown
    for name in ("example.org:8080", "[::1]:80", "me@example.org", "...", "a b.org"):
        assert "is no host: write one such as example.org, without scheme, path, port" in (
            listed.neo("where", "--domain", name).err
        )
    assert "no URL in " in listed.neo("where", "--domain", "[::1]").err


def test_a_damaged_index_is_told_and_the_tables_answer(listed: NeoSite) -> None:
    lines = listed.folder / "lines.txt"
    lines.write_text("\n".join(row["url"] for row in rows()[:50]))
    asks = [("--file", str(lines)), (url_listed(3),), ("--sample", rows()[9]["sample_id"].hex()[:8])]
    scanned = [listed.neo("where", *ask, "--json").json["sightings"] for ask in asks]
    listed.neo("index")
    for subject in ("names", "ids"):
        for piece in listed.folder.glob(f"store/indexes/*/*/*/{subject}/*.bin"):
            data = piece.read_bytes()
            piece.write_bytes(bytes(byte ^ 0x5A for byte in data))
    for ask, wanted in zip(asks, scanned, strict=True):
        told = listed.neo("where", *ask, "--json")
        assert told.json["sightings"] == wanted and len(told.json["unindexed"]) == 1
        (warning,) = told.json["warnings"]
        assert "has other entries in slot" in warning and "Until then all tables are read" in warning
        assert "makes it again" in told.err
    assert "is damaged and made again" in listed.neo("index").out
    assert listed.neo("where", url_listed(3), "--json").json["unindexed"] == []


def test_columns_of_ones_own_are_json_and_bytes_that_are_no_text_are_refused(site: NeoSite) -> None:
    make(list_pairs.bind("pairs", ListedPairsRecipe(num_pairs=50, carries=True)), site.store)
    told = json.loads(site.neo("where", url_listed(5), "--json").out, parse_constant=pytest.fail)
    row = told["sightings"][0]["details"]["samples"][0]
    assert [row[name] for name in ("score", "seen", "day", "price")] == [
        None, "2026-01-02T03:04:05", "2026-01-02", "1.50",
    ]  # fmt: skip
    broken = b"http://x/\xff".decode("utf-8", "surrogateescape")
    for words in ((broken,), ("--sample", broken), ("--domain", broken), ("--text", f"a red {broken}")):
        refused = site.neo("where", *words)
        assert refused.code == 2 and "is no text: it has bytes that are no UTF-8" in refused.err
        assert site.neo("where", *words, "--json").json["exit_code"] == 2
    assert "cannot be read" in site.neo("where", "--picture", broken).err


def test_a_list_may_have_upper_case_digits_a_mark_of_utf_8_and_names_of_digits(site: NeoSite) -> None:
    make(list_pairs.bind("pairs", ListedPairsRecipe(named_by_digits=True)), site.store)
    held = [row for first in range(0, 300, 50) for row in table_of(RECIPE, first).to_pylist()]
    name = hashlib.md5(b"8").hexdigest()
    lines = [held[7]["url"], held[1]["sample_id"].hex().upper(), held[11]["sha256"].hex().upper(), name]
    file = site.folder / "lines.txt"
    file.write_text("\ufeff" + "\r\n".join(lines))
    for _ in range(2):
        told = site.neo("where", "--file", str(file), "--json").json
        found = {one["asked"]: one["sample_ids"] for one in told["found"]}
        assert told["missing"] == [] and list(found) == lines
        assert found[lines[1]] == [lines[1].lower()] and held[11]["sample_id"].hex() in found[lines[2]]
        assert found[name] == [held[8]["sample_id"].hex()]
        site.neo("index")
