"""Lineage both ways, and the audit that finds one flipped bit."""

import json
import random
import re
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.lineage.forward import beginning_with
from tests.pipelines.conftest import TOYS, NeoSite
from tests.worlds.pipeline_world import sample_id, url_of

DATA = f"{TOYS}:data"


@pytest.fixture
def made(site: NeoSite) -> NeoSite:
    assert site.neo("run", DATA).code == 0
    return site


def test_backward_every_artifact_is_named_with_its_counts(made: NeoSite) -> None:
    document = made.neo("trace", "data/rows", "--json").json
    assert [(node["step"], node["kind"], node["num_entered"]) for node in document["nodes"]] == [
        ("pairs", "RawPairs", 12),
        ("kept", "KeptPairs", 10),
        ("mix", "Draw", 7),
        ("rows", "Rows", 7),
    ]
    assert document["sources"] == [document["nodes"][0]["fingerprint"]]
    assert document["nodes"][1]["items"] == {"kept": 7, "dropped": {"too_small": 3}, "failed": {}}
    told = made.neo("trace", "data/rows").out
    assert "a table of 12 rows" in told and "○  pairs" in told


def test_a_missing_parent_is_shown_and_not_passed_over(made: NeoSite) -> None:
    (made.artifact_folder("pairs") / "manifest.json").unlink()
    document = made.neo("trace", "data/rows", "--json").json
    assert document["missing"] == [f"fetch_toys/{document['sources'][0][:12]}"]
    assert made.neo("audit", "data/rows").code == 1


def test_a_picture_of_the_lineage_is_drawn(made: NeoSite, tmp_path: Path) -> None:
    from PIL import Image

    assert made.neo("trace", "data/rows", "--picture", str(tmp_path / "lineage.png")).code == 0
    with Image.open(tmp_path / "lineage.png") as image:
        assert image.width > 4 * image.height / 2


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (4, {"pairs": "failed (not_found)"}),
        (1, {"pairs": "kept, 11 x 20 px", "kept": "dropped (too_small)"}),
        (5, {"pairs": "kept", "kept": "kept", "mix": "drawn 1 time from pairs", "rows": "row 2 in shard 00000"}),
    ],
)
def test_forward_a_url_is_followed_to_its_end(made: NeoSite, number: int, expected: dict[str, str]) -> None:
    sightings = made.neo("trace", "--url", url_of(number), "--json").json["sightings"]
    assert [sighting["step"] for sighting in sightings] == list(expected)
    assert all(said in sighting["said"] for sighting, said in zip(sightings, expected.values(), strict=True))


def test_with_a_reference_a_url_is_followed_on_the_way_to_it_alone(made: NeoSite) -> None:
    made.neo("run", DATA, "--set", "mix.num_repetitions=2")

    def drawn(*words: str) -> list[str]:
        sightings = made.neo("trace", *words, "--url", url_of(5), "--json").json["sightings"]
        return [sighting["said"] for sighting in sightings if sighting["step"] == "mix"]

    assert sorted(drawn()) == [
        "drawn 1 time from pairs, repetition 0",
        "drawn 2 times from pairs, repetitions 0, 1",
    ]
    assert drawn("data/rows") == ["drawn 2 times from pairs, repetitions 0, 1"]


def test_a_url_that_never_entered_is_said_not_to_be_there(made: NeoSite) -> None:
    said = made.neo("trace", "--url", "http://toy.invalid/none.jpg")
    assert said.code == 2 and "no URL table" in said.err


def test_the_steps_that_took_a_row_are_those_that_training_takes(made: NeoSite) -> None:
    from pipelines.lineage.finders import find_in_weights
    from pipelines.lineage.sightings import Carryover
    from stages.artifacts.artifact import Artifact
    from stages.artifacts.manifest import Manifest
    from stages.artifacts.records import InputRecord
    from stages.training.loading.step_rows import RowOrder

    rows = json.loads((made.artifact_folder("rows") / "manifest.json").read_text())
    read = InputRecord(stage=rows["stage"], fingerprint=rows["fingerprint"], content=rows["content"])
    recipe = {"num_steps": 12, "rows_per_step": 1, "until_steps": [5], "seed": 3}
    weights = Manifest(
        kind="Checkpoint", stage="train_toy", number=1, fingerprint="f" * 64, recipe=recipe,
        inputs={"rows.0": read, "rows.1": read}, parts=(), items={}, content="c" * 64, versions={},
    )  # fmt: skip
    inputs = {"rows.0": Carryover(rows=frozenset({2})), "rows.1": Carryover(rows=frozenset({0}))}
    sighting = find_in_weights(Artifact(made.store, weights), inputs)
    order = {"num_rows": 4, "rows_per_step": 1, "seed": 3}
    expected = [step + 1 for step in range(5) if 2 in RowOrder(**order).rows_of_step(step)]
    expected += [6 + step for step in range(7) if 0 in RowOrder(**order).rows_of_step(step)]
    assert sighting.steps == tuple(expected) and expected
    assert sighting.carryover.seen_by.startswith("train_toy")


def test_a_sample_is_followed_by_its_id_and_by_the_beginning_of_it(made: NeoSite) -> None:
    whole = sample_id(url_of(5)).hex()
    by_url = made.neo("trace", "--url", url_of(5), "--json").json["sightings"]
    by_id = made.neo("trace", "--sample", whole, "--json").json
    by_start = made.neo("trace", "--sample", whole[:9], "data/rows", "--json").json
    assert by_id["sightings"] == by_start["sightings"] == by_url
    assert by_id["sample_id"] == by_start["sample_id"] == whole
    drawn, packed = by_url[-2]["details"], by_url[-1]["details"]
    assert [(one["source"], one["repetition"]) for one in drawn["drawings"]] == [("pairs", 0)]
    assert packed == {"rows": {"2": "00000"}, "documents": {"2": packed["documents"]["2"]}}


def test_a_sample_that_was_dropped_is_said_to_be(made: NeoSite) -> None:
    sightings = made.neo("trace", "--sample", sample_id(url_of(1)).hex(), "--json").json["sightings"]
    assert [(one["step"], one["said"]) for one in sightings][-1] == ("kept", "part 00001: dropped (too_small)")


def test_a_sample_id_that_is_none_unknown_or_two_is_refused_with_the_reason(made: NeoSite) -> None:
    assert "'xyz' is no sample id: 4 to 32 of the digits" in made.neo("trace", "--sample", "xyz").err
    assert "no sample table in " in made.neo("trace", "--sample", "f" * 4).err
    assert made.neo("trace", "--sample", "f" * 32).code == 2
    ids = [sample_id(f"{number}") for number in range(2000)]
    twins = next(pair for pair in pairwise(sorted(ids)) if pair[0][:2] == pair[1][:2])
    column = pa.chunked_array([pa.array(twins, pa.binary(16))])
    assert beginning_with(column, twins[0].hex()[:4]) == set(twins)
    assert beginning_with(column, twins[0].hex()[:-1]) == {twins[0]}


def test_from_a_row_to_its_samples_and_back(made: NeoSite) -> None:
    document = made.neo("trace", "data/rows", "--row", "2", "--json").json
    assert [one["source"] for one in document["documents"]] == ["pairs", "pairs"]
    for number, one in enumerate(document["documents"]):
        packed = made.neo("trace", "--sample", one["sample_id"], "--json").json["sightings"][-1]
        assert packed["details"] == {"rows": {"2": document["part"]}, "documents": {"2": [number]}}
    assert document["documents"][0]["sample_id"] in made.neo("trace", "data/rows", "--row", "2").out
    assert "has the rows 0 to 3" in made.neo("trace", "data/rows", "--row", "4").err
    assert "is KeptPairs, no packed rows" in made.neo("trace", "data/kept", "--row", "0").err


def test_draws_and_rows_are_shown_by_source(made: NeoSite) -> None:
    drawn = made.neo("show", "data/mix", "--json").json["sources"]
    assert drawn == {"pairs": {"samples": 7, "distinct": 7, "drawn": 7}}
    assert made.neo("show", "data/rows", "--json").json["sources"] == {"pairs": {"documents": 7, "tokens": 49}}
    assert made.neo("show", "data/kept", "--json").json["sources"] == {}
    assert re.search(r"source +documents +tokens\s+pairs +7 +49", made.neo("show", "data/rows").out)


def test_what_weights_saw_is_asked_by_step_or_to_the_end(site: NeoSite) -> None:
    assert site.neo("run", f"{TOYS}:whole").code == 0
    (seen,) = site.neo("trace", "whole/evaluate", "--saw", "end", "--json").json["seen"]
    assert (seen["step"], seen["until_step"]) == ("weights", 6)
    assert [(one["num_read"], one["num_different"], one["num_rows"]) for one in seen["rows"]] == [(6, 4, 4)]
    (seen,) = site.neo("trace", "whole/weights", "--saw", "3", "--json").json["seen"]
    assert seen["rows"][0]["num_read"] == 3 == seen["rows"][0]["until_step"]
    counts = seen["sources"]["pairs"]
    assert counts == {"documents": counts["samples"], "tokens": 7 * counts["samples"], "samples": counts["samples"]}
    assert "3 rows read, 3 of its 4" in site.neo("trace", "whole/weights", "--saw", "3").out
    assert "was trained for 6 steps; 7 is not among them" in site.neo("trace", "whole/weights", "--saw", "7").err
    assert "was not trained on rows itself" in site.neo("trace", "whole/evaluate", "--saw", "3").err
    (site.artifact_folder("weights", "whole") / "manifest.json").unlink()
    assert "is not committed" in site.neo("trace", "whole/weights", "--saw", "3").err
    assert "name an optimizer step, or `end`" in site.neo("trace", "whole/weights", "--saw", "last").err


def test_one_question_at_a_time(made: NeoSite) -> None:
    said = made.neo("trace", "data/rows", "--row", "1", "--url", url_of(5))
    assert said.code == 2 and "say one of --url, --sample, --row, --saw and --picture" in said.err
    assert made.neo("trace", "--row", "1").code == 2


def test_an_audit_of_what_is_whole_finds_nothing(made: NeoSite) -> None:
    document = made.neo("audit", "data/rows", "--json")
    assert document.code == 0
    assert document.json["findings"] == []
    assert (document.json["num_artifacts"], document.json["num_items"]) == (4, 36)


def test_one_flipped_bit_anywhere_in_the_chain_is_found_and_its_file_named(made: NeoSite) -> None:
    chance = random.Random(7)
    files = [path for path in made.folder.glob("store/artifacts/**/*") if path.is_file()]
    assert {path.name for path in files} >= {"manifest.json", "samples.parquet", "rows.tar", "00000.json"}
    for path in files:
        # What was to be done, and by whom: nothing that is committed leans on it.
        if path.parent.parent.name == "phases" or path.parent.name == "claims":
            continue
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        said = made.neo("audit", "data/rows", "--json")
        path.write_bytes(whole)
        assert said.code == 1, path
        key = str(path.relative_to(made.folder / "store"))
        assert key in {finding["key"] for finding in said.json["findings"]}, path
    assert made.neo("audit", "data/rows").code == 0


@pytest.mark.parametrize(("damage", "complaint"), [("cut", "bytes, "), ("remove", "is missing")])
def test_a_cut_and_a_missing_file_are_named(made: NeoSite, damage: str, complaint: str) -> None:
    (path,) = made.artifact_folder("rows").rglob("rows.tar")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-512])
    else:
        path.unlink()
    said = made.neo("audit", "data/rows")
    assert said.code == 1 and str(path) in said.out and complaint in said.out


def test_a_table_that_does_not_count_up_is_named(made: NeoSite) -> None:
    import hashlib

    import pyarrow.parquet as pq

    folder = made.artifact_folder("kept")
    path = sorted(folder.rglob("verdicts.parquet"))[0]
    table = pq.read_table(path)
    pq.write_table(table.slice(0, table.num_rows - 1), path)
    data = path.read_bytes()
    for record in [folder / "manifest.json", *folder.glob("records/judge/*.json")]:
        value = json.loads(record.read_text())
        for part in value.get("parts", [value]):
            for entry in part["files"]:
                if entry["key"].endswith(str(path.relative_to(folder))):
                    entry |= {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        record.write_text(json.dumps(value))
    said = made.neo("audit", "data/kept", "--json").json
    assert any("its rows count" in finding["said"] for finding in said["findings"])


def test_foreign_text_reaches_the_screen_without_control_characters(made: NeoSite) -> None:
    told = made.neo("trace", "--url", "http://toy.invalid/\x1b[2J\x07.jpg")
    assert "\x1b" not in told.err and "\x07" not in told.err
