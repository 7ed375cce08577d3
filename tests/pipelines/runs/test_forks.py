"""A training is forked on the command line: planned, run, typed again, forked again, shown, and refused in words."""

from pathlib import Path

import pytest

from pipelines.lineage.graph import lineage_of
from tests.pipelines.conftest import TOYS, NeoSite

TRAINED = f"{TOYS}:trained"
LONGER = ("--set", "weights.num_steps=8", "--set", "weights.peak_learning_rate=1e-4")


def weights(site: NeoSite, *words: str) -> dict:
    """What a plan says of the training."""
    said = site.neo("plan", TRAINED, "--json", *words)
    assert said.code == 0, said
    return next(step for step in said.json["steps"] if step["name"] == "weights")


def test_a_finished_training_is_forked_and_forked_again(site: NeoSite) -> None:
    assert site.neo("run", TRAINED).code == 0
    whole = weights(site)["fingerprint"]
    from_4 = ("--from", "weights@4", *LONGER)
    planned = weights(site, *from_4)
    assert (planned["action"], planned["at_step"], planned["unused"]) == ("make", 4, None)
    assert planned["reason"] == f"begins at step 4 of train_prebuffer/{whole[:12]}"
    assert {change["field"] for change in planned["changes"]} == {"num_steps", "peak_learning_rate"}
    assert planned["fingerprint"] not in (whole, weights(site, *LONGER)["fingerprint"])
    pinned = ("--from", f"weights=train_prebuffer/{whole[:12]}@4", *LONGER)
    assert weights(site, *pinned)["fingerprint"] == planned["fingerprint"]

    ran = site.neo("run", TRAINED, *from_4)
    assert ran.code == 0 and f"begins at step 4 of train_prebuffer/{whole[:12]}" in " ".join(ran.out.split()), ran
    again = site.neo("run", TRAINED, *from_4)
    assert again.code == 0 and "Nothing to make" in again.out, "typed again, it is the same fork"
    shown = site.neo("show", planned["fingerprint"][:12])
    assert f"begins at step 4 of train_prebuffer/{whole[:12]}" in shown.out
    assert "from there on num_steps: 6 -> 8" in shown.out
    traced = site.neo("trace", planned["fingerprint"][:12], "--json").json
    assert traced["nodes"][-1]["begins_from"] == {"fingerprint": whole, "step": 4}
    told = site.neo("trace", planned["fingerprint"][:12], "--picture", str(site.folder / "lineage.png")).out
    assert "begins at step 4" in told and f"{whole[:12]} checkpoint step 4, which a fork began" in " ".join(
        told.split()
    )
    assert (site.folder / "lineage.png").stat().st_size > 0
    lineage = lineage_of(site.store, "train_prebuffer", planned["fingerprint"])
    rows, llm = (traced["nodes"][-1]["inputs"][name] for name in ("rows.0", "llm"))
    assert set(lineage.reads[planned["fingerprint"]]) == {rows, llm, whole}
    assert set(lineage.reads[whole]) == {rows, llm} and not lineage.missing
    seen = site.neo("seen", planned["fingerprint"][:12], "--json").json["seen"]
    assert [(rows["first_step"], rows["until_step"], rows["num_read"]) for rows in seen[0]["rows"]] == [(1, 8, 32)]
    for audited in (whole, planned["fingerprint"]):
        assert site.neo("audit", audited[:12]).code == 0

    run = site.neo("plan", TRAINED, "--json", *from_4).json["run"]
    assert site.neo("resume", run).code == 0
    from_6 = ("--from", "weights@6", "--set", "weights.num_steps=9")
    assert weights(site, *from_6)["reason"] == f"begins at step 6 of train_prebuffer/{planned['fingerprint'][:12]}"
    assert weights(site, *from_4)["fingerprint"] == planned["fingerprint"], "before it began, there is the first"
    assert site.neo("run", TRAINED, *from_6).code == 0
    assert weights(site, *from_6)["action"] == "reuse"


def test_an_unfinished_training_is_forked(site: NeoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO_FAULT", "checkpoint.recorded:after@4=kill")
    assert site.neo("run", TRAINED).code == 1
    monkeypatch.delenv("NEO_FAULT")
    unfinished = weights(site)
    assert unfinished["action"] == "continue" and unfinished["at_step"] == 4
    short = f"train_prebuffer/{unfinished['fingerprint'][:12]}"
    for before in ("weights@3", f"weights={short}@3"):
        assert weights(site, "--from", before, *LONGER)["reason"] == f"begins at step 3 of {short}"
    run = site.neo("plan", TRAINED, "--json").json["run"]
    assert weights(site, "--from", f"weights={run}@3", *LONGER)["reason"] == f"begins at step 3 of {short}"


def test_what_cannot_be_forked_is_refused_in_words(site: NeoSite, tmp_path: Path) -> None:
    def refused(*words: str) -> str:
        said = site.neo("plan", TRAINED, *words)
        assert said.code in (2, 3), said
        return " ".join(said.err.split())

    assert "weights was never trained in" in refused("--from", "weights@3")
    assert "write it as STEP@N" in refused("--from", "weights")
    assert "there is no step 'weihgts' (did you mean 'weights'?)" in refused("--from", "weihgts@3")
    assert site.neo("run", TRAINED).code == 0
    gone = refused("--from", "weights@1", *LONGER)
    assert "no checkpoint of step 1 is kept" in gone and "steps 3, 4, 5, 6 can be begun from" in gone
    assert "num_steps = 6 leaves no step after 6; raise it" in refused("--from", "weights@6")
    assert "num_steps = 3 leaves no step after 4; raise it" in refused(
        "--from", "weights@4", "--set", "weights.num_steps=3"
    )
    deeper = refused("--from", "weights@4", "--set", "weights.num_prebuffer_layers=2")
    assert "num_prebuffer_layers cannot change" in deeper
    by_another = refused("--from", "rows=trained/weights@4")
    assert "was made by another stage than 'rows', which is make_rows" in by_another
    assert "two were named" in refused("--from", "weights@4", "--from", "weights@5")
    used = refused("--from", "weights@4", "--use", f"weights={weights(site)['fingerprint'][:12]}", *LONGER)
    assert "--use and --from both name weights" in used
