"""`neo skip`: a step that fails at each resume is left out on record, and only where that is still possible."""

import json
from pathlib import Path

import pytest

from stages.artifacts.records import PartRecord
from stages.commit.attempt import AttemptId
from stages.commit.claims import Claimant
from stages.store.store import Store
from tests.pipelines.conftest import TOYS, NeoSite

POISON = """
from stages.train_prebuffer import TrainPrebufferRecipe, train_prebuffer
from tests.worlds.training_world import LlmRecipe, RowsRecipe, make_llm, make_rows

RECIPE = TrainPrebufferRecipe(
    num_steps=4, rows_per_step=8, num_prebuffer_layers=1, patch_hidden=16, peak_learning_rate=1e-3,
    num_warmup_steps=1, precision="fp32", checkpoint_every_steps=1,
)


def poisoned():
    llm = make_llm.bind("llm", LlmRecipe())
    rows = make_rows.bind("rows", RowsRecipe(broken_row=13), llm)
    return train_prebuffer.bind("prebuffer", RECIPE, [rows], llm)
"""
STEP = 2
"""The step that takes row 13 first."""


@pytest.fixture
def pipeline(tmp_path: Path) -> str:
    (tmp_path / "poison.py").write_text(POISON)
    return f"{tmp_path}/poison.py:poisoned"


def skip(site: NeoSite, ref: str, step: int, *more: str, reason: str = "its picture is broken"):
    return site.neo("skip", ref, "--step", str(step), "--reason", reason, *more)


def test_a_training_that_fails_at_each_resume_goes_on_without_the_step(site: NeoSite, pipeline: str) -> None:
    for _ in range(2):
        failed = site.neo("run", pipeline)
        assert failed.code == 1 and f"step {STEP} could not be loaded" in failed.out + failed.err
    committed = skip(site, "poisoned", STEP - 1)
    assert committed.code == 3 and "step 1 of prebuffer is committed" in committed.err
    said = skip(site, "poisoned/prebuffer", STEP)
    assert (
        said.code == 0 and "Step 2 of prebuffer" in said.out and said.last_line.startswith("Next: neo resume poisoned-")
    )
    again = skip(site, "poisoned", STEP, "--json", reason="another reason").json
    assert (again["was_known"], again["reason"]) == (True, "its picture is broken")
    planned = site.neo("plan", pipeline, "--json").json["steps"][-1]
    assert planned["reason"] == "checkpoint of step 1 committed, step 2 left out"
    run = site.neo("run", pipeline)
    assert run.code == 0, run.err
    shown = site.neo("show", "poisoned/prebuffer")
    assert "1 step left out" in shown.out and "its picture is broken" in shown.out
    (told,) = site.neo("show", "poisoned/prebuffer", "--json").json["skipped_steps"]
    assert {name: told[name] for name in ("step", "reason", "by", "at")} == {
        name: again[name] for name in ("step", "reason", "by", "at")
    }
    (seen,) = site.neo("seen", "poisoned/prebuffer", "--json").json["seen"]
    assert seen["skipped_steps"] == [STEP] and seen["rows"][0]["num_read"] == 3 * 8
    assert site.neo("audit", "poisoned/prebuffer").code == 0
    finished = skip(site, "poisoned/prebuffer", 4)
    assert finished.code == 3 and "is finished" in finished.err
    check_the_audit_of_records(site, site.artifact_folder("prebuffer", "poisoned"))


def check_the_audit_of_records(site: NeoSite, folder: Path) -> None:
    record = folder / "records" / "skipped_steps" / "000000.json"
    whole = record.read_text()
    for damaged, words in ((whole.replace('"step": 2', '"step": 3'), "as left out than the last checkpoint"),
                           (whole[:-9], "is torn")):  # fmt: skip
        assert damaged != whole
        record.write_text(damaged)
        audit = site.neo("audit", "poisoned/prebuffer")
        assert audit.code == 1 and words in " ".join(audit.out.split())
    record.write_text(whole)
    assert PartRecord.model_validate_json(whole).facts["step"] == STEP


def test_what_is_no_step_of_an_unfinished_training_is_said(site: NeoSite, pipeline: str) -> None:
    assert site.neo("run", TOYS + ":data").code == 0
    assert "is no training on packed rows" in skip(site, "data", 1).err
    site.neo("run", TOYS + ":broken")
    assert "has steps 1 to 6" in skip(site, "broken", 7).err
    assert "--reason must say why" in skip(site, "broken", 5, reason=" ").err
    assert "nothing in" in skip(site, "nowhere", 1).err


def test_a_step_is_not_left_out_under_an_attempt_that_trains(site: NeoSite) -> None:
    site.neo("run", TOYS + ":broken")
    (folder,) = (site.folder / "store" / "artifacts" / "train_toy").iterdir()
    run = next(path.name for path in (site.folder / "store" / "runs").iterdir() if path.name.startswith("broken-"))
    claimant = Claimant(
        Store(site.folder / "store"), f"artifacts/train_toy/{folder.name}", "weights", AttemptId(run, 9)
    )
    with claimant.claim(print, lambda: False, lambda: False):
        refused = skip(site, folder.name, 5)
    assert refused.code == 3 and f"attempt 9 of run {run}" in refused.err and "is being trained" in refused.err
    assert skip(site, folder.name, 5).code == 0
    assert skip(site, "broken/weights", 6, "--json").json["artifact"] == f"train_toy/{folder.name}"


def test_a_silent_attempt_of_another_machine_is_watched_and_then_overtaken(
    site: NeoSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEO_LOST_AFTER_SECONDS", "0.5")
    site.neo("run", TOYS + ":broken")
    (folder,) = (site.folder / "store" / "artifacts" / "train_toy").iterdir()
    claims = sorted((folder / "claims").glob("?.json"))
    silent = json.loads(claims[-1].read_text()) | {"machine": "elsewhere", "run": "other", "attempt": "other-1"}
    claims[-1].with_name(f"{len(claims)}.json").write_text(json.dumps(silent))
    assert skip(site, folder.name, 5).code == 0
    taken = json.loads((folder / "claims" / f"{len(claims) + 1}.json").read_text())
    assert taken["took_over"] == "attempt 1 of run other had no heartbeat for 0.5 s"
