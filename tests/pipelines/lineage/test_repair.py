"""Damage behind our back: found, named, moved aside, and exactly that made again, the same."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.artifacts.manifest import Manifest
from tests.pipelines.conftest import TOYS, NeoSite
from tests.spoil import cut, flip

DATA = f"{TOYS}:data"
WHOLE = f"{TOYS}:whole"
CLEAN = "Everything is as it was committed."
Executions = Callable[[], list[str]]


@pytest.fixture
def made(site: NeoSite, executions: Executions) -> NeoSite:
    assert site.neo("run", DATA).code == 0
    return site


def manifest(site: NeoSite, step: str, pipeline: str = "data") -> Manifest:
    return Manifest.model_validate_json((site.artifact_folder(step, pipeline) / "manifest.json").read_text())


def a_file(site: NeoSite, step: str, part: int = 0, pipeline: str = "data") -> Path:
    """The first file of a part, in the store."""
    return site.folder / "store" / manifest(site, step, pipeline).parts[part].files[0].key


def attempts_of_checkpoints(site: NeoSite) -> list[str]:
    """Which attempt committed each checkpoint of the one training there is, in order."""
    records = sorted(site.folder.glob("store/artifacts/train_toy/*/records/steps/*.json"))
    return [json.loads(record.read_text())["made_by"]["attempt"].rsplit("-", 1)[-1] for record in records]


def test_a_damaged_head_is_written_again_from_its_manifest(made: NeoSite) -> None:
    path = made.artifact_folder("kept") / "head.json"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"num_parts": ', b'"num_parts": 9', 1))
    traced = made.neo("trace", "data/rows")
    assert traced.code == 0 and "its head.json" not in traced.out, "only an audit compares the numbers"
    assert "differs from its manifest in: phases" in made.neo("audit", "data/rows").out
    repaired = made.neo("audit", "data/rows", "--repair")
    assert repaired.code == 0 and "Written again from the manifest" in repaired.out
    assert path.read_bytes() == whole


def test_a_damaged_manifest_beside_a_whole_head_is_folded_again(made: NeoSite, executions: Executions) -> None:
    path = made.artifact_folder("kept") / "manifest.json"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"files"', b'"fi1es"', 1))
    assert "Quarantined; the next run makes these again" in made.neo("audit", "data/rows", "--repair").out
    assert made.neo("run", DATA).code == 0
    assert json.loads(path.read_bytes())["content"] == json.loads(whole)["content"]
    assert made.neo("audit", "data/rows").code == 0


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink], ids=["flipped", "cut", "missing"])
@pytest.mark.parametrize("step", ["pairs", "kept"])
def test_a_damaged_file_is_found_and_exactly_its_part_is_made_again_with_the_same_bytes(
    made: NeoSite, executions: Executions, damage: Callable[[Path], None], step: str
) -> None:
    before = {name: manifest(made, name) for name in ("pairs", "kept", "mix", "rows")}
    victim = a_file(made, step, part=1)
    whole = victim.read_bytes()
    damage(victim)
    found = made.neo("audit", "data/rows")
    assert found.code == 1 and str(victim) in found.out
    assert found.last_line == f"Next: neo audit data/rows --repair --site {made.file}"
    repaired = made.neo("audit", "data/rows", "--repair")
    assert repaired.code == 0
    assert repaired.last_line == f"Next: neo run {DATA} --site {made.file}"
    planned = {row["name"]: row for row in made.neo("plan", DATA, "--json").json["steps"]}
    assert (planned[step]["action"], planned[step]["num_recorded"], planned[step]["num_parts"]) == ("continue", 2, 3)
    num_before = len(executions())
    assert made.neo("run", DATA).code == 0
    assert len(executions()) == num_before + 1
    after = {name: manifest(made, name) for name in before}
    assert a_file(made, step, part=1).read_bytes() == whole
    assert {name: item.content for name, item in after.items()} == {name: item.content for name, item in before.items()}
    assert [name for name in after if after[name] != before[name]] == [step], "what leans on it was not touched"
    assert CLEAN in made.neo("audit", "data/rows").out


def test_a_copy_of_the_damaged_record_is_not_believed_either(
    site: NeoSite, executions: Executions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.commit.phase_records.PARTS_PER_BUNDLE", 2)
    assert site.neo("run", DATA).code == 0
    (sheet,) = site.artifact_folder("pairs").glob("phases/*/sheets/0.json")
    a_file(site, "pairs", part=1).unlink()
    assert site.neo("audit", "data/rows", "--repair").code == 0
    assert not sheet.exists()
    num_before = len(executions())
    assert site.neo("run", DATA).code == 0
    assert len(executions()) == num_before + 1
    assert sheet.is_file()
    assert CLEAN in site.neo("audit", "data/rows").out


def test_damage_done_twice_to_one_part_is_repaired_twice(made: NeoSite) -> None:
    for _ in range(2):
        flip(a_file(made, "pairs"))
        assert made.neo("audit", "data/rows", "--repair").code == 0
        assert made.neo("run", DATA).code == 0
        assert CLEAN in made.neo("audit", "data/rows").out


def test_a_part_that_comes_out_different_is_refused_until_somebody_takes_it(
    made: NeoSite, executions: Executions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the web gives another picture today."""
    held = manifest(made, "kept")
    victim = a_file(made, "pairs", part=1)
    record = made.artifact_folder("pairs") / "records" / manifest(made, "pairs").parts[1].phase / "00001.json"
    victim.unlink()
    made.neo("audit", "data/rows", "--repair")
    monkeypatch.setenv("TOY_WEB", " of today")
    said = made.neo("run", DATA)
    assert said.code == 1
    assert "made again it comes out different" in said.out
    assert f"{record.name}.damaged-0" in said.out
    assert not record.exists(), "nothing was recorded"
    assert manifest(made, "kept") == held
    for name in (f"{record}.damaged-0", str(made.artifact_folder("pairs") / "manifest.json.damaged-0")):
        Path(name).unlink()
    assert made.neo("run", DATA).code == 0
    assert manifest(made, "kept").inputs != held.inputs, "what leaned on it was made again"
    assert made.neo("run", DATA).code == 0


@pytest.mark.parametrize("damage", ["tear", "remove", "edit"])
def test_a_lost_record_is_written_again_from_its_manifest(made: NeoSite, executions: Executions, damage: str) -> None:
    record = sorted(made.artifact_folder("kept").glob("records/*/*.json"))[0]
    whole = record.read_bytes()
    if damage == "tear":
        os.truncate(record, 20)
    elif damage == "remove":
        record.unlink()
    else:
        record.write_text(json.dumps(json.loads(whole) | {"facts": {"edited": 1}}))
    assert made.neo("audit", "data/rows").code == 1
    repaired = made.neo("audit", "data/rows", "--repair")
    assert repaired.code == 0 and "Written again from the manifest" in repaired.out
    assert record.read_bytes() == whole
    num_before = len(executions())
    assert CLEAN in made.neo("audit", "data/rows").out
    assert "Nothing to make" in made.neo("run", DATA).out
    assert len(executions()) == num_before


def test_a_torn_record_of_an_unfinished_part_counts_as_absent(made: NeoSite, executions: Executions) -> None:
    folder = made.artifact_folder("kept")
    (folder / "manifest.json").unlink()
    record = sorted(folder.glob("records/*/*.json"))[0]
    os.truncate(record, 20)
    num_before = len(executions())
    assert made.neo("run", DATA).code == 0
    assert len(executions()) == num_before + 1
    assert record.with_name(f"{record.name}.torn-0").is_file()
    assert CLEAN in made.neo("audit", "data/rows").out


def test_where_nobody_knows_what_parts_were_made_of_they_are_made_again(made: NeoSite, executions: Executions) -> None:
    folder = made.artifact_folder("kept")
    (folder / "manifest.json").unlink()
    os.truncate(folder / "inputs.json", 20)
    num_before = len(executions())
    assert made.neo("run", DATA).code == 0
    assert len(executions()) == num_before + 3
    assert CLEAN in made.neo("audit", "data/rows").out


def test_a_torn_record_of_the_run_is_named_with_what_to_do(made: NeoSite) -> None:
    (plan,) = made.folder.glob("store/runs/*/plan.json")
    os.truncate(plan, 20)
    said = made.neo("status")
    assert said.code == 3 and str(plan) in said.err and "torn or was edited" in said.err
    assert said.last_line.startswith("Next: neo status")


def test_a_manifest_that_was_folded_again_is_no_changed_manifest(made: NeoSite) -> None:
    for _ in range(2):
        (made.artifact_folder("kept") / "manifest.json").unlink()
        assert made.neo("run", DATA).code == 0
    assert CLEAN in made.neo("audit", "data/rows").out
    path = made.artifact_folder("kept") / "manifest.json"
    path.write_text(path.read_text().replace('"judge"', '"juDge"', 1))
    assert made.neo("run", DATA).code == 0
    assert made.neo("audit", "data/rows").code == 1, "a changed one still is"


def test_what_a_manifest_says_falsely_is_left_to_a_person(made: NeoSite) -> None:
    path = made.artifact_folder("kept") / "manifest.json"
    value = json.loads(path.read_text())
    value["items"]["kept"] += 1
    path.write_text(json.dumps(value))
    flip(a_file(made, "kept"))
    said = made.neo("audit", "data/rows", "--repair")
    assert said.code == 1 and "need a person" in said.out
    assert path.is_file()


def test_a_killed_repair_is_finished_by_the_next(made: NeoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the record and the manifest."""
    import subprocess
    import sys

    flip(a_file(made, "pairs", part=1))
    words = [sys.executable, "-m", "pipelines.cli", "audit", "data/rows", "--repair", "--site", str(made.file)]
    fault = {"NEO_FAULT": "record.quarantined:after@1=kill"}
    assert subprocess.run(words, env=os.environ | fault, capture_output=True, check=False).returncode == -9
    assert made.artifact_folder("pairs").joinpath("manifest.json").is_file()
    assert made.neo("audit", "data/rows", "--repair").code == 0
    assert made.neo("run", DATA).code == 0
    assert CLEAN in made.neo("audit", "data/rows").out


def test_a_step_that_meets_the_damage_names_the_file_and_the_way_out(made: NeoSite) -> None:
    """Rows are to be made again from pairs one of whose files is gone."""
    victim = a_file(made, "pairs", part=1)
    victim.unlink()
    said = made.neo("run", DATA, "--set", "kept.min_width_px=15")
    assert said.code == 1
    assert str(victim.name) in said.out
    assert said.last_line == f"Next: neo audit {manifest(made, 'pairs').fingerprint[:12]} --repair --site {made.file}"
    repaired = made.neo(*said.last_line.split()[2:-2])
    assert repaired.last_line.startswith("Next: neo resume data-")
    resumed = made.neo(*repaired.last_line.split()[2:-2])
    assert resumed.code == 0, resumed.out
    assert CLEAN in made.neo("audit", "data/rows").out


def test_damaged_weights_are_trained_again_from_the_last_whole_checkpoint_and_come_out_the_same(
    site: NeoSite,
) -> None:
    assert site.neo("run", WHOLE).code == 0
    before = manifest(site, "weights", "whole")
    a_file(site, "weights", pipeline="whole").unlink()
    repaired = site.neo("audit", "whole/evaluate", "--repair")
    assert repaired.code == 0, repaired.out
    assert site.neo("run", WHOLE).code == 0
    assert attempts_of_checkpoints(site) == ["1", "1", "2"], "training went on from the checkpoint before"
    assert manifest(site, "weights", "whole").content == before.content
    assert CLEAN in site.neo("audit", "whole/evaluate").out


def test_a_damaged_checkpoint_of_unfinished_training_is_moved_aside_and_the_one_before_is_taken(
    site: NeoSite,
) -> None:
    broken = f"{TOYS}:broken"
    assert site.neo("run", broken).code == 1, "its training fails at step 3, after the checkpoint of step 2"
    (record,) = site.folder.glob("store/artifacts/train_toy/*/records/steps/*.json")
    (site.folder / "store" / json.loads(record.read_text())["files"][0]["key"]).unlink()
    ref = f"train_toy/{record.parents[2].name}"
    found = site.neo("audit", ref)
    assert found.code == 1 and "is missing" in found.out
    assert site.neo("audit", ref, "--repair").code == 0
    assert not record.exists() and record.with_name(f"{record.name}.damaged-0").is_file()
    site.neo("run", broken)
    assert attempts_of_checkpoints(site) == ["2"], "made again from the start: no other was whole"
