"""`neo resume` goes on with the frozen plan: from any state, whatever became of the recipe, and not past the code."""

import dataclasses
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.runs.run import Run
from stages.store.refs import read_ref
from tests.pipelines.conftest import TOYS, NeoSite
from tests.pipelines.running.test_execute_run import kill_in_the_middle, the_run, wait_until
from tests.worlds import pipeline_world as neo_toys

DATA = f"{TOYS}:data"
Executions = Callable[[], list[str]]


def test_a_killed_run_is_resumed_and_says_what_is_reused_and_what_goes_on(
    site: NeoSite, executions: Executions
) -> None:
    kill_in_the_middle(site, num_recorded=2)
    before = executions()
    said = site.neo("resume")
    assert said.code == 0, said
    assert "fetch 2 of 3 parts recorded" in said.out
    assert "Attempt 1 ended: killed, its process is gone. Lost work:" in said.out
    assert "pairs: 1 part not recorded; unfinished parts start again" in said.out
    assert [name for name in executions()[len(before) :] if name.startswith("fetch")] == ["fetch/00002"]
    run = the_run(site)
    assert [run.end(record.number).outcome for record in run.attempts()] == ["killed", "done"]


def test_a_run_that_is_done_has_nothing_to_resume(site: NeoSite) -> None:
    site.neo("run", DATA)
    named = site.neo("resume", "data")
    assert named.code == 0 and "Nothing to make" in named.out
    unnamed = site.neo("resume")
    assert unnamed.code == 0 and "Nothing to resume: every run" in unnamed.out


def test_without_a_name_the_newest_that_is_not_done_goes_on(site: NeoSite) -> None:
    site.neo("run", f"{TOYS}:broken_data")
    site.neo("run", DATA)
    said = site.neo("resume", "--json")
    assert said.code == 1 and said.json["run"].startswith("broken_data-") and said.json["attempt"] == 2


def test_the_frozen_plan_counts_not_the_recipe_as_it_is_now(site: NeoSite, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.py"
    shutil.copy(TOYS, recipe)
    driver = site.start("run", f"{recipe}:data", TOY_STUCK_FROM_PART="1")
    wait_until(lambda: bool(list(site.folder.glob("store/artifacts/fetch_toys/*/records/fetch/*.json"))))
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    run = the_run(site)
    frozen = {step.name: step.fingerprint for step in run.request.steps}
    recipe.write_text(recipe.read_text().replace("JudgeRecipe()", "JudgeRecipe(min_width_px=17)"))
    said = site.neo("resume", run.name)
    assert said.code == 0, said
    assert f"{recipe}:data has changed since; this run continues from its frozen plan." in said.out
    assert the_run(site).state() == "done"
    assert read_ref(site.store, "data/kept")["fingerprint"] == frozen["kept"]


def test_a_recipe_that_is_gone_is_not_needed(site: NeoSite, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.py"
    shutil.copy(TOYS, recipe)
    assert site.neo("run", f"{recipe}:broken_data").code == 1
    recipe.unlink()
    said = site.neo("resume")
    assert said.code == 1 and "cannot be loaded any more" in said.out
    assert said.last_line == f"Next: neo resume {the_run(site).name} --site {site.file}"


def test_a_run_under_way_is_not_resumed(site: NeoSite) -> None:
    driver = site.start("run", DATA, TOY_STUCK_FROM_PART="1")
    wait_until(lambda: bool(list(site.folder.glob("store/artifacts/fetch_toys/*/records/fetch/*.json"))))
    said = site.neo("resume")
    driver.kill()
    driver.communicate()
    assert said.code == 4 and f"process {driver.pid}" in said.err
    assert said.last_line.startswith("Next: neo status data-")


def elsewhere(run: Run, number: int) -> None:
    """Make an attempt's record look as if another machine had written it."""
    path = Path(run.store.url) / run.folder / "attempts" / f"{number}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"machine": "another", "host": "far-away"}))


def test_a_run_on_another_machine_is_watched_until_it_counts_as_lost(
    site: NeoSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_in_the_middle(site, num_recorded=1)
    elsewhere(the_run(site), 1)
    monkeypatch.setenv("NEO_LOST_AFTER_SECONDS", "0.5")
    said = site.neo("resume")
    assert said.code == 0, said
    assert "Attempt 1 on far-away is out of contact: watching its heartbeat" in said.out
    assert "Attempt 1 ended: killed, no heartbeat for 0.5 s." in said.out


def test_a_run_that_lives_on_another_machine_is_not_resumed(site: NeoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO_LOST_AFTER_SECONDS", "5")
    driver = site.start("run", DATA, TOY_STUCK_FROM_PART="1")
    wait_until(lambda: bool(list(site.folder.glob("store/artifacts/fetch_toys/*/records/fetch/*.json"))))
    elsewhere(the_run(site), 1)
    said = site.neo("resume")
    driver.kill()
    driver.communicate()
    assert said.code == 4 and "attempt 1 on far-away" in said.err


def test_code_that_would_make_something_else_is_refused_with_4(site: NeoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    kill_in_the_middle(site, num_recorded=1)
    changed = dataclasses.replace(neo_toys.judge_toys, number=2)
    monkeypatch.setattr(neo_toys, "judge_toys", changed)
    said = site.neo("resume")
    assert said.code == 4, said
    assert "step 'kept' was frozen for stage judge_toys number 1, the code has number 2" in said.err
    assert said.last_line.startswith("Next: neo run ")
    monkeypatch.delattr(neo_toys, "judge_toys")
    gone = site.neo("resume")
    assert gone.code == 4 and "which the code no longer has" in gone.err


def test_a_recipe_that_the_code_no_longer_takes_is_refused_with_4(
    site: NeoSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_in_the_middle(site, num_recorded=1)
    changed = dataclasses.replace(neo_toys.judge_toys, recipe_type=neo_toys.LlmRecipe)
    monkeypatch.setattr(neo_toys, "judge_toys", changed)
    said = site.neo("resume")
    assert said.code == 4 and "a recipe that stage judge_toys no longer accepts (min_width_px" in said.err


def test_going_back_behind_a_damaged_checkpoint_is_allowed_for_one_command(site: NeoSite) -> None:
    """Each command fails at step 3, after the checkpoint of step 2, which says what the ranks were allowed."""
    assert site.neo("run", f"{TOYS}:broken", "--allow-rollback").code == 1
    (record,) = site.folder.glob("store/artifacts/train_toy/*/records/steps/*.json")
    assert json.loads(record.read_text())["facts"]["allows_rollback"] is True
    record.unlink()
    assert site.neo("resume").code == 1
    assert json.loads(record.read_text())["facts"]["allows_rollback"] is False
    record.unlink()
    assert site.neo("resume", "--allow-rollback").code == 1
    assert json.loads(record.read_text())["facts"]["allows_rollback"] is True
