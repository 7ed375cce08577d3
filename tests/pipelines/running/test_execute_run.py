"""A run makes what is missing, moves names, records attempts, and goes on after anything."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.runs.run import Run, all_runs
from stages.store.refs import read_ref
from tests.pipelines.conftest import TOYS, NeoSite

DATA = f"{TOYS}:data"
Executions = Callable[[], list[str]]


def the_run(site: NeoSite) -> Run:
    (run,) = all_runs(site.store)
    return run


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_a_run_makes_everything_once_and_then_nothing(site: NeoSite, executions: Executions) -> None:
    said = site.neo("run", DATA)
    assert said.code == 0
    assert said.last_line == f"Next: neo show data/rows --site {site.file}"
    again = site.neo("run", DATA)
    assert again.code == 0 and "Nothing to make: all 4 steps of data are committed." in again.out
    assert len(executions()) == len(set(executions())) == 6
    assert the_run(site).state() == "done"
    assert [record.number for record in the_run(site).attempts()] == [1]


def test_a_run_that_makes_nothing_imports_neither_ray_nor_mlflow(site: NeoSite) -> None:
    site.neo("run", DATA)
    mark_all_sent(site)
    process = site.start("run", DATA, PYTHONPROFILEIMPORTTIME="1")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0
    imported = {line.rsplit("|", 1)[-1].strip() for line in errors.splitlines() if "|" in line}
    assert "pipelines.running.execute_run" in imported
    assert not imported & {"ray", "mlflow", "torch"}


def mark_all_sent(site: NeoSite) -> None:
    from pipelines.runs.outbox import Outbox

    for run in all_runs(site.store):
        outbox = Outbox(site.store, run.name)
        for key in outbox.pending():
            outbox.mark_sent(key)


def test_the_end_of_a_run_says_what_was_made_and_where(site: NeoSite, executions: Executions) -> None:
    said = site.neo("run", f"{TOYS}:scored", "--json")
    assert said.code == 0, said
    document = said.json
    assert document["steps"]["evaluate"]["ended"] == "committed"
    assert document["metrics"]["evaluate"]["accuracy_blind_shape"] == 0.3
    assert document["next"] == f"neo show scored/evaluate --site {site.file}"
    told = site.neo("run", f"{TOYS}:scored", "--set", 'evaluate.kinds=["word"]').out
    assert "held-out accuracy" in told and "0.930 to 0.970" in told
    assert "contact_sheet.png" in told and "lineage.png" in told and "MLflow:" in told
    picture = next(line.strip() for line in told.splitlines() if line.endswith("lineage.png"))
    assert Path(picture).read_bytes().startswith(b"\x89PNG")


def test_a_failed_step_ends_with_1_keeps_its_traceback_and_stops_what_follows(site: NeoSite) -> None:
    said = site.neo("run", f"{TOYS}:broken_data")
    assert said.code == 1
    assert "the toy broke on purpose" in said.out
    assert said.last_line.startswith("Next: neo run")
    run = the_run(site)
    assert run.state() == "failed"
    assert b"broke on purpose" in site.store.read(f"{run.folder}/logs/1/kept.txt")
    shown = site.neo("show", run.name, "--json").json
    assert [step["state"] for step in shown["steps"]] == ["committed", "not made", "not made"]


def test_two_settings_are_two_runs_and_names_follow_the_last(site: NeoSite) -> None:
    site.neo("run", DATA)
    first = read_ref(site.store, "data/kept")
    site.neo("run", DATA, "--set", "kept.min_width_px=16")
    assert read_ref(site.store, "data/kept") != first
    assert len(all_runs(site.store)) == 2
    back = site.neo("run", DATA)
    assert "Nothing to make" in back.out
    assert read_ref(site.store, "data/kept")["fingerprint"] == first["fingerprint"]


def kill_in_the_middle(site: NeoSite, num_recorded: int) -> None:
    """Start a run in a process of its own and kill it once so many parts of the download are recorded."""
    driver = site.start("run", DATA, TOY_STUCK_FROM_PART=str(num_recorded))
    records = "store/artifacts/fetch_toys/*/records/fetch/*.json"
    wait_until(lambda: len(list(site.folder.glob(records))) == num_recorded)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()


def test_killed_in_the_middle_it_goes_on_without_doing_anything_twice(site: NeoSite, executions: Executions) -> None:
    kill_in_the_middle(site, num_recorded=2)
    planned = site.neo("plan", DATA, "--json").json["steps"][0]
    assert (planned["action"], planned["num_recorded"]) == ("continue", 2)
    before = executions()
    assert site.neo("run", DATA).code == 0
    assert [name for name in executions()[len(before) :] if name.startswith("fetch")] == ["fetch/00002"]
    run = the_run(site)
    assert [run.end(record.number).outcome for record in run.attempts()] == ["killed", "done"]
    made_by = [part["made_by"]["attempt"] for part in manifest_of(site, "pairs")["parts"]]
    assert made_by == [f"{run.name}-1", f"{run.name}-1", f"{run.name}-2"]


def manifest_of(site: NeoSite, step: str) -> dict:
    ref = read_ref(site.store, f"data/{step}")
    return site.store.read_json(f"artifacts/{ref['stage']}/{ref['fingerprint'][:12]}/manifest.json")


def test_a_killed_run_ends_as_an_undisturbed_one_does(site: NeoSite, tmp_path: Path) -> None:
    kill_in_the_middle(site, num_recorded=1)
    killed = site.neo("run", DATA, "--json").json
    (tmp_path / "other.toml").write_text(f'store = "{tmp_path}/other"\nmlflow = "http://127.0.0.1:9"\n')
    undisturbed = site.type_(["run", DATA, "--json", "--site", str(tmp_path / "other.toml")]).json
    assert {name: step["content"] for name, step in killed["steps"].items()} == {
        name: step["content"] for name, step in undisturbed["steps"].items()
    }


def test_ctrl_c_stops_at_the_next_commit_with_75_and_the_next_run_goes_on(site: NeoSite) -> None:
    slow = ("--set", "pairs.pause_seconds=0.4")
    driver = site.start("run", DATA, *slow)
    wait_until(lambda: bool(list(site.folder.glob("store/artifacts/fetch_toys/*/records/fetch/*.json"))))
    driver.send_signal(signal.SIGINT)
    out, _ = driver.communicate(timeout=60)
    assert driver.returncode == 75, out
    assert "Stopping at the next commit; Ctrl-C again within 3 s stops at once" in out
    assert out.rstrip().splitlines()[-1].startswith("Next: neo run")
    assert the_run(site).state() == "interrupted"
    assert site.neo("run", DATA, *slow).code == 0


def test_a_second_ctrl_c_stops_at_once(site: NeoSite) -> None:
    driver = site.start("run", DATA, TOY_STUCK_FROM_PART="1")
    wait_until(lambda: bool(list(site.folder.glob("store/artifacts/fetch_toys/*/records/fetch/*.json"))))
    driver.send_signal(signal.SIGINT)
    assert any("Ctrl-C again" in line for line in driver.stdout)
    driver.send_signal(signal.SIGINT)
    out, _ = driver.communicate(timeout=25)
    assert driver.returncode == 75, out
    assert "stopped at once, being asked twice" in out


def test_what_dies_of_the_signal_that_stops_the_run_is_no_failure(site: NeoSite, monkeypatch) -> None:
    def die_with_ray(orders, edges, site, on_event, stop):
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
        raise RuntimeError("the raylet is gone")

    monkeypatch.setattr("pipelines.commands.run.machines", lambda: die_with_ray)
    said = site.neo("run", DATA)
    assert said.code == 75 and "the raylet is gone" in said.out
    assert the_run(site).state() == "interrupted"


def test_two_runs_at_once_both_end_well(site: NeoSite, executions: Executions) -> None:
    drivers = [site.start("run", DATA) for _ in range(2)]
    assert [driver.communicate(timeout=120) and driver.returncode for driver in drivers] == [0, 0]
    run = the_run(site)
    assert sorted(record.number for record in run.attempts()) in ([1], [1, 2])
    assert {run.end(record.number).outcome for record in run.attempts()} == {"done"}
    assert len(executions()) == len(set(executions())) == 6
    assert site.neo("audit", "data/rows").code == 0


def test_a_store_that_takes_nothing_is_refused_before_anything_starts(site: NeoSite, tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file, no folder")
    site.file.write_text(f'store = "{tmp_path}/blocked/store"\nmlflow = "http://127.0.0.1:9"\n')
    said = site.neo("run", DATA)
    assert said.code == 3 and "cannot be used" in said.err and "Not a directory" in said.err


@pytest.mark.parametrize("words", [("show", "data"), ("trace", "data"), ("audit", "data"), ("trace", "--url", "x")])
def test_a_store_in_which_nothing_was_made_says_so(site: NeoSite, words: tuple[str, ...]) -> None:
    said = site.neo(*words)
    assert said.code == 3 and "there is nothing yet" in said.err
