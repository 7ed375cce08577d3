"""`neo mirror` makes the same pages again in an empty tracker, from the store alone."""

import json
import shutil
from pathlib import Path

from pipelines.runs.outbox import Outbox
from pipelines.runs.run import all_runs
from tests.pipelines.conftest import NOBODY, TOYS, NeoSite
from tests.pipelines.tracking.pages_dump import pages_dump

DATA, SCORED = f"{TOYS}:data", f"{TOYS}:scored"


def database(site: NeoSite) -> str:
    return f"sqlite:///{site.folder}/mlflow.db"


def wipe(site: NeoSite, fresh_database: Path) -> None:
    shutil.copy(fresh_database, site.folder / "mlflow.db")
    shutil.rmtree(site.folder / "mlflow-files")


def test_a_wiped_tracker_has_the_same_pages_again(tracked: NeoSite, fresh_database: Path) -> None:
    tracked.neo("run", SCORED)
    tracked.neo("run", f"{TOYS}:broken_data")
    tracked.neo("run", SCORED, "--set", "evaluate.kinds=[]")
    before = pages_dump(database(tracked))
    wipe(tracked, fresh_database)
    said = tracked.neo("mirror", "--json")
    assert said.code == 0, said
    assert len(said.json["runs"]) == 3
    assert pages_dump(database(tracked)) == before


def test_one_run_alone_is_mirrored_and_pages_that_are_there_stay(tracked: NeoSite, fresh_database: Path) -> None:
    tracked.neo("run", SCORED)
    tracked.neo("run", DATA)
    before = pages_dump(database(tracked))
    assert tracked.neo("mirror").code == 0
    assert pages_dump(database(tracked)) == before
    wipe(tracked, fresh_database)
    assert tracked.neo("mirror", "--run", "data").code == 0
    assert pages_dump(database(tracked))["pages"] == {"data": before["pages"]["data"]}


def test_a_tracker_that_is_away_is_said_so_and_everything_is_kept(site: NeoSite) -> None:
    site.neo("run", SCORED)
    (run,) = all_runs(site.store)
    waiting = Outbox(site.store, run.name).num_pending()
    said = site.neo("mirror", "--run", run.name)
    assert said.code == 3
    assert f"MLflow at {NOBODY}" in said.err and "nothing is lost" in said.err
    assert said.last_line == f"Next: neo mirror --run {run.name} --site {site.file}   (once it answers)"
    assert Outbox(site.store, run.name).num_pending() == waiting


def test_a_name_of_an_artifact_is_no_run(site: NeoSite) -> None:
    site.neo("run", SCORED)
    said = site.neo("mirror", "--run", "scored/llm", "--json")
    assert said.code == 2 and "not a run" in json.loads(said.out)["error"]
