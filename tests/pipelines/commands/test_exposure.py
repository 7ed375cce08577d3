"""How often weights saw something, asked in every way, as people and programs read it."""

from collections import Counter

import pytest

from pipelines.commands.exposure import MAX_LINES, section
from stages.artifacts.kinds import Rows
from stages.formats.packed_rows.rows import RowReader
from stages.training.loading.step_rows import RowOrder
from tests.pipelines.conftest import TOYS, NeoSite
from tests.spoil import flip
from tests.worlds.pipeline_world import sample_id, url_of

WHOLE = f"{TOYS}:whole"


@pytest.fixture
def whole(site: NeoSite) -> NeoSite:
    assert site.neo("run", WHOLE).code == 0
    return site


def dealt(site: NeoSite) -> dict[int, list[bytes]]:
    """Step to the samples of the row that it takes, dealt one by one."""
    from pipelines.runs.refs import resolve_artifact
    from stages.artifacts.artifact import open_artifact

    rows = open_artifact(site.store, *resolve_artifact(site.store, "whole/rows"), Rows)
    packed = RowReader(rows).index("sample_ids")["sample_ids"].to_pylist()
    order = RowOrder(num_rows=len(packed), rows_per_step=1, seed=0)
    return {step + 1: [one for row in order.rows_of_step(step) for one in packed[row]] for step in range(6)}


def steps_with(site: NeoSite, samples: set[bytes]) -> Counter[int]:
    found = {step: sum(one in samples for one in ids) for step, ids in dealt(site).items()}
    return Counter({step: number for step, number in found.items() if number})


def steps_in(document: dict) -> list[int]:
    (trained,) = document["trained_on"]
    return [step for first, last in trained["steps"] for step in range(first, last + 1)]


@pytest.mark.parametrize("indexed", [False, True])
def test_each_way_of_asking_names_the_steps_that_were_dealt_it(whole: NeoSite, indexed: bool) -> None:
    if indexed:
        assert whole.neo("index").code == 0
    urls = [url_of(number) for number in range(12)]
    listed = whole.folder / "list.txt"
    listed.write_text("\n".join([urls[5], sample_id(urls[8]).hex(), "http://nobody.invalid/", ""]))
    ways: dict[tuple[str, ...], list[int]] = {
        (urls[5],): [5],
        (sample_id(urls[6]).hex(),): [6],
        ("--file", str(listed)): [5, 8],
        ("--domain", "toy.invalid"): [*range(12)],
        ("--source", "pairs"): [*range(12)],
        ("--of", "whole/pairs"): [*range(12)],
        ("--of", "whole/pairs", "--part", "00001"): [1, 4, 7, 10],
        ("--of", "whole/rows", "--part", "00000"): [*range(12)],
        ("--of", "whole/mix", "--part", "draw"): [*range(12)],
        ("--reason", "too_small"): [0, 1, 2],
        ("--reason", "not_found"): [4, 9],
    }
    for words, numbers in ways.items():
        said = whole.neo("exposure", "whole/evaluate", *words, "--json")
        assert said.code == 0, (words, said.err)
        expected = steps_with(whole, {sample_id(urls[number]) for number in numbers})
        assert (said.json["times"], steps_in(said.json)) == (expected.total(), sorted(expected)), words
        assert said.json["version"] == 1 and said.json["is_known"] is False
    missing = whole.neo("exposure", "whole/weights", "--file", str(listed), "--json").json
    assert missing["missing"] == ["http://nobody.invalid/"]
    assert missing["found"][0] == {"asked": urls[5], "sample_ids": [sample_id(urls[5]).hex()], "has_more": False}


def test_what_only_other_artifacts_name_is_looked_for_by_its_ids(whole: NeoSite) -> None:
    """As after a takedown, which leaves no URL in the tables behind the new weights."""
    before = whole.neo("show", "whole/weights", "--json").json["fingerprint"][:12]
    url = url_of(10)
    times = steps_with(whole, {sample_id(url)}).total()
    assert whole.neo("run", WHOLE, "--set", "pairs.num_urls=9").code == 0
    for words, elsewhere, is_seen in (((url,), [url], False), (("--domain", "toy.invalid"), [], True)):
        told = whole.neo("exposure", "whole/weights", *words, "--json").json
        assert told["elsewhere"] == elsewhere and bool(told["times"]) is is_seen
    assert times and whole.neo("exposure", before, url, "--json").json["times"] == times
    said = whole.neo("exposure", "whole/weights", url)
    assert f"No table behind it has {url} by that name, others do: looked for by sample ids." in said.out


def test_it_reads_well_at_80_columns_and_says_what_is_not_known(whole: NeoSite) -> None:
    said = whole.on_terminal(80, "exposure", "whole/weights", "--domain", "toy.invalid")
    fingerprint = whole.neo("show", "whole/weights", "--json").json["fingerprint"][:12]
    assert f"train_toy/{fingerprint}" in said.out.split() and "1 to 6 of 6" in said.out
    assert "what it was trained" in said.out and "is the least, not all." in " ".join(said.out.split())
    assert all(len(line) <= 80 for line in said.out.splitlines() if not line.startswith("Next:"))
    assert said.last_line.startswith("Next: neo seen train_toy/")


def test_typos_get_the_nearest_and_nonsense_gets_words(whole: NeoSite) -> None:
    for words, part in {
        ("--source", "pair"): "did you mean 'pairs'?",
        ("--reason", "to_small"): "did you mean 'too_small'?",
        ("--of", "whole/pairs", "--part", "0001"): "did you mean '00001'?",
        ("--part", "00001"): "say which with --of REF",
        ("--domain", "http://toy.invalid"): "is no host",
        ("--domain", "nobody.invalid"): "no URL in a table is on nobody.invalid",
        ("3f2a",): "all of which are needed here",
        ("",): "URL|ID is empty",
        ("--file", "/nowhere/list"): "cannot be read",
        (): "say one of URL|ID",
        ("a", "--domain", "b"): "not 2",
        ("--of", "whole/evaluate", "--part", "evaluate"): "which has no samples that weights could have seen",
    }.items():
        said = whole.neo("exposure", "whole/weights", *words)
        assert said.code == 2 and part in said.err, (words, said.err)
    for words in (("--of", "whole/evaluate"), ("--of", "whole/weights"), ("--of", "whole/llm")):
        said = whole.neo("exposure", "whole/weights", *words)
        assert said.code == 2 and "which has no samples that weights could have seen" in " ".join(said.err.split())
    assert "holds KeptPairs, which is no weights" in whole.neo("exposure", "whole/kept", url_of(5)).err


def test_a_damaged_table_or_index_is_said_and_never_0(whole: NeoSite) -> None:
    for step, name in (("pairs", "samples.parquet"), ("rows", "index.parquet"), ("rows", "sample_rows.bin")):
        path = next(whole.artifact_folder(step, "whole").glob(f"attempts/**/{name}"))
        data = path.read_bytes()
        (path.unlink if name == "samples.parquet" else lambda path=path: flip(path))()
        said = whole.neo("exposure", "whole/weights", url_of(5), "--json")
        assert said.code == 1 and name in said.json["unreadable"][0]
        assert said.json["is_known"] is False and said.json["is_damaged"] is True
        assert "this is no proof" in " ".join(whole.neo("exposure", "whole/weights", url_of(5)).out.split())
        path.write_bytes(data)
    head = whole.artifact_folder("mix", "whole")
    (head / "head.json").unlink()
    (head / "manifest.json").rename(head / "gone")
    lost = whole.neo("exposure", "whole/weights", url_of(5), "--json")
    assert lost.code == 1 and "has no manifest" in lost.json["unreadable"][0]


def test_a_section_is_bounded_and_says_what_it_leaves_out() -> None:
    assert section("Could not be read:", []) == []
    assert section("Could not be read:", ["a", "b"]) == ["", "Could not be read:", "  a", "  b"]
    lines = section("Could not be read:", [str(number) for number in range(MAX_LINES + 1234)])
    assert lines[-2:] == [f"  {MAX_LINES - 1}", "  and 1,234 more, which --json names"]
    assert len(lines) == MAX_LINES + 3
