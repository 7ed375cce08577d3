"""MLflow shows what the store holds: real SQLite, real pages, and nothing lost when it is away or wiped."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from pipelines.runs.outbox import Message, Outbox
from pipelines.runs.run import all_runs
from pipelines.tracking.delivery import DeliveryThread, check_reachable
from pipelines.tracking.server import Tracker
from stages.artifacts.manifest import content_digest, read_manifest
from stages.contract import CheckpointCommitted, NumbersReported, PictureKept
from stages.store.refs import read_ref
from tests.pipelines.conftest import TOYS, NeoSite
from tests.pipelines.running.test_execute_run import wait_until
from tests.pipelines.tracking.pages_dump import pages_dump

DATA, SCORED = f"{TOYS}:data", f"{TOYS}:scored"


def client(site: NeoSite) -> Any:
    import mlflow

    return mlflow.MlflowClient(uri(site))


def uri(site: NeoSite) -> str:
    return f"sqlite:///{site.folder}/mlflow.db"


def runs_of(site: NeoSite, pipeline: str) -> dict[str, Any]:
    """Every page of a pipeline by its name."""
    mlflow = client(site)
    experiment = mlflow.get_experiment_by_name(pipeline)
    pages = mlflow.search_runs([experiment.experiment_id])
    assert len({page.info.run_name for page in pages}) == len(pages), "a page is there twice"
    return {page.info.run_name: mlflow.get_run(page.info.run_id) for page in pages}


def note_of(page: Any) -> str:
    return page.data.tags["mlflow.note.content"]


def test_the_chain_can_be_walked_on_the_pages(tracked: NeoSite) -> None:
    said = tracked.neo("run", SCORED)
    assert said.code == 0
    pages = runs_of(tracked, "scored")
    (run,) = all_runs(tracked.store)
    assert f"/runs/{pages[run.name].info.run_id}?workflowType=machine_learning" in said.out
    assert set(pages) == {run.name, "llm", "weights", "evaluate"}
    assert {page.info.status for page in pages.values()} == {"FINISHED"}
    parent = pages[run.name].info.run_id
    assert {page.data.tags.get("mlflow.parentRunId") for name, page in pages.items() if name != run.name} == {parent}

    llm, weights, evaluate = pages["llm"], pages["weights"], pages["evaluate"]
    made = llm.outputs.model_outputs[0].model_id
    assert [model.model_id for model in weights.inputs.model_inputs] == [made]
    tags = weights.data.tags
    assert tags["neo.fingerprint"] == read_ref(tracked.store, "scored/weights")["fingerprint"]
    assert tags["neo.input.llm"] == llm.data.tags["neo.fingerprint"]
    assert evaluate.data.metrics["accuracy_blind_shape"] == 0.3
    assert pages[run.name].data.metrics["accuracy"] == 0.95

    mlflow = client(tracked)
    files = {item.path for item in mlflow.list_artifacts(evaluate.info.run_id)}
    assert files == {"contact_sheet.png", "funnel.json", "head.json", "lineage.svg"}
    note = note_of(weights)
    for page in (llm, evaluate):  # without the mode in its address, MLflow shows an experiment as one on traces
        assert f"/runs/{page.info.run_id}?workflowType=machine_learning)" in note
    (version,) = mlflow.search_model_versions("name = 'scored-weights'")
    assert version.tags["neo.fingerprint"] == tags["neo.fingerprint"]


def test_the_page_of_the_run_says_who_asked_for_what_where_and_what_came_of_it(tracked: NeoSite) -> None:
    import mlflow

    assert tracked.neo("run", SCORED, "--set", "evaluate.kinds=[]").code == 0
    (run,) = all_runs(tracked.store)
    page = runs_of(tracked, "scored")[run.name]
    tags, record = page.data.tags, run.attempt(1)
    assert record is not None and record.origin is not None
    assert tags["mlflow.user"] == record.origin.user
    assert (tags["mlflow.source.name"], tags["mlflow.source.type"]) == (SCORED, "LOCAL")
    assert tags["mlflow.project.entryPoint"] == SCORED
    assert tags.get("mlflow.source.git.commit", "") == record.origin.commit
    assert (tags["neo.host"], tags["neo.hardware"]) == (record.host, record.origin.hardware)
    assert tags["neo.version.python"] == "3.11" and tags["neo.command"].startswith("neo run ")
    assert f"Begun by {record.origin.user} on {record.host}" in note_of(page)
    assert page.data.params["evaluate.kinds"] == "[]"
    assert page.data.metrics["total/steps_made"] == 3 and page.data.metrics["total/attempts"] == 1
    made = {output.model_id for output in page.outputs.model_outputs}
    assert len(made) == 2  # the language model and the weights
    assert runs_of(tracked, "scored")["evaluate"].data.tags["mlflow.user"] == record.origin.user
    assert not page.inputs.dataset_inputs  # it read no data

    assert tracked.neo("run", DATA).code == 0
    made_by = runs_of(tracked, "data")["kept"].inputs.dataset_inputs
    for item in made_by:
        assert Path(mlflow.data.get_source(item.dataset).load()).joinpath("manifest.json").is_file()


def test_models_that_were_read_are_on_a_page_though_mlflow_leaves_them_out_of_a_search(tracked: NeoSite) -> None:
    """`search_runs` fills no model inputs (MLflow 3.17), so pages also name in tags what they read."""
    assert tracked.neo("run", SCORED).code == 0
    mlflow = client(tracked)
    experiment = mlflow.get_experiment_by_name("scored").experiment_id
    (found,) = mlflow.search_runs([experiment], "tags.`neo.step` = 'weights'")
    (read,) = mlflow.get_run(found.info.run_id).inputs.model_inputs
    assert found.data.tags["neo.input_model.llm"] == f"models:/{read.model_id}"


def test_curves_and_pictures_of_training_are_on_the_page_of_its_step(tracked: NeoSite) -> None:
    assert tracked.neo("run", DATA).code == 0
    (run,) = all_runs(tracked.store)
    tracked.store.create("answers.png", b"a picture")
    events = [
        NumbersReported(step="rows", numbers={"loss": 3.0, "learning_rate": 1.0}, at_step=10),
        NumbersReported(step="rows", numbers={"heldout/loss": 4.0}, at_step=10),
        PictureKept(step="rows", name="answers", key="answers.png", at_step=10),
        PictureKept(step="rows", name="answers", key="gone.png", at_step=20),
        CheckpointCommitted(step="rows", at_step=10),
    ]
    for _ in range(2):
        Tracker(uri(tracked)).deliver(run, Message(kind="events", attempt=1, events=tuple(events)))
    page = runs_of(tracked, "data")["rows"]
    files = {item.path for item in client(tracked).list_artifacts(page.info.run_id, "pictures")}
    assert files == {"pictures/losses.png", "pictures/answers-00000010.png"}


def test_data_sets_are_the_same_at_both_ends_and_counts_are_on_the_page(tracked: NeoSite) -> None:
    tracked.neo("run", DATA)
    pages = runs_of(tracked, "data")
    made = [item.dataset for item in pages["pairs"].inputs.dataset_inputs]
    read = {item.tags[0].value: item.dataset for item in pages["kept"].inputs.dataset_inputs}
    assert (read["read as raw"].name, read["read as raw"].digest) == (made[0].name, made[0].digest)
    assert len(made[0].digest) == 32
    assert pages["kept"].data.metrics["items_dropped"] == 3
    assert pages["kept"].data.metrics["judge/parts"] == 3
    assert pages["kept"].data.params == {"min_width_px": "13"}
    drawn = "| source | samples | distinct | drawn |\n| --- | --- | --- | --- |\n| `pairs` | 7 | 7 | 7 |"
    assert drawn in note_of(pages["mix"])
    assert "| source | documents | tokens |" in note_of(pages["rows"]) and "| source |" not in note_of(pages["kept"])
    path = client(tracked).download_artifacts(pages["pairs"].info.run_id, "samples.csv")
    lines = Path(path).read_text().splitlines()
    assert lines[0].startswith("sample_id,url,caption") and len(lines) == 5
    funnel = client(tracked).download_artifacts(pages["kept"].info.run_id, "funnel.json")
    assert json.loads(Path(funnel).read_text())["dropped"] == {"too_small": 3}


def test_every_number_is_in_mlflow_at_the_step_that_reported_it(tracked: NeoSite) -> None:
    assert tracked.neo("run", f"{TOYS}:whole").code == 0
    mlflow, weights = client(tracked), runs_of(tracked, "whole")["weights"].info.run_id
    history = mlflow.get_metric_history(weights, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(step, 1 / step) for step in range(1, 7)]
    pairs = runs_of(tracked, "whole")["pairs"].info.run_id
    counted = [(metric.step, metric.value) for metric in mlflow.get_metric_history(pairs, "fetch/parts")]
    assert counted[-1] == (3, 3.0) and all(step == value for step, value in counted)


def test_the_digest_of_a_data_set_is_that_of_the_artifacts_content(tracked: NeoSite) -> None:
    tracked.neo("run", DATA)
    pages = runs_of(tracked, "data")
    for step, name in (("pairs", "made"), ("kept", "made"), ("kept", "read as raw"), ("mix", "read as kept")):
        logged = {item.tags[0].value: item.dataset for item in pages[step].inputs.dataset_inputs}[name]
        source = {"kept": "pairs", "mix": "kept"}[step] if name.startswith("read") else step
        ref = read_ref(tracked.store, f"data/{source}")
        manifest = read_manifest(tracked.store, ref["stage"], ref["fingerprint"])
        assert logged.digest == content_digest(manifest.parts)[:32]
        assert logged.name == f"{ref['stage']}/{ref['fingerprint'][:12]}"


def test_a_step_bound_by_use_says_which_artifact_it_is_and_what_it_was_made_from(tracked: NeoSite) -> None:
    tracked.neo("run", DATA)
    (before,) = all_runs(tracked.store)
    kept, pairs = (read_ref(tracked.store, f"data/{step}")["fingerprint"][:12] for step in ("kept", "pairs"))
    assert tracked.neo("run", DATA, "--use", f"kept={kept}", "--set", "mix.num_repetitions=2").code == 0
    mlflow = client(tracked)
    experiment = mlflow.get_experiment_by_name("data").experiment_id
    (page,) = mlflow.search_runs([experiment], "tags.`neo.step` = 'kept' and tags.`neo.outcome` = 'reused'")
    note = note_of(page)
    assert f"KeptPairs `judge_toys/{kept}`" in note
    assert f"Bound by `--use`; made by {before.name}-1 as step kept." in note
    assert f"- `raw`: `fetch_toys/{pairs}`" in note and "read from outside" not in note
    assert "its data was read from outside" in note_of(runs_of_run(tracked, before.name)["pairs"])


def runs_of_run(site: NeoSite, run: str) -> dict[str, Any]:
    """The pages of the steps of one run by step."""
    mlflow = client(site)
    pages = mlflow.search_runs([mlflow.get_experiment_by_name("data").experiment_id], f"tags.`neo.run` = '{run}'")
    return {page.data.tags.get("neo.step", ""): page for page in pages}


def test_reused_steps_have_pages_in_the_run_that_reuses_them(tracked: NeoSite) -> None:
    tracked.neo("run", DATA)
    tracked.neo("run", SCORED)
    tracked.neo("run", SCORED, "--set", "evaluate.kinds=[]")
    mlflow = client(tracked)
    experiment = mlflow.get_experiment_by_name("scored").experiment_id
    found = mlflow.search_runs([experiment], "tags.`neo.step` = 'weights'")
    assert sorted(page.data.tags["neo.outcome"] for page in found) == ["committed", "reused"]
    outputs = {mlflow.get_run(page.info.run_id).outputs.model_outputs[0].model_id for page in found}
    assert len(outputs) == 1
    assert len(mlflow.search_model_versions("name = 'scored-weights'")) == 1


def test_messages_that_are_delivered_again_change_nothing(tracked: NeoSite) -> None:
    tracked.neo("run", SCORED)
    before = pages_dump(uri(tracked))
    redeliver(tracked)
    assert pages_dump(uri(tracked)) == before


def redeliver(site: NeoSite) -> None:
    for mark in site.folder.glob("store/runs/*/outbox/*.sent"):
        mark.unlink()
    delivery = DeliveryThread(uri(site), all_runs(site.store))
    assert delivery.close() == 0, delivery.problem


def test_a_message_that_is_refused_for_good_keeps_none_waiting_and_says_why(tracked: NeoSite) -> None:
    tracked.neo("run", SCORED)
    (run,) = all_runs(tracked.store)
    outbox = Outbox(run.store, run.name)
    endless = NumbersReported(step="evaluate", numbers={"n" * 1000: 1.0})
    refused = outbox.append(Message(kind="events", attempt=1, events=(endless,)))
    odd = NumbersReported(step="evaluate", numbers={"loss (nats?)": 2.0})
    outbox.append(Message(kind="events", attempt=1, events=(odd,)))
    delivery = DeliveryThread(uri(tracked), [run])
    assert delivery.close() == 0
    assert refused in delivery.problem
    assert b"exceeds the maximum length" in run.store.read(f"{refused}.sent")
    assert runs_of(tracked, "scored")["evaluate"].data.metrics["loss _nats__"] == 2.0


def test_a_page_that_another_command_put_away_is_looked_for_again(tracked: NeoSite) -> None:
    tracked.neo("run", SCORED)
    (run,) = all_runs(tracked.store)
    outbox = Outbox(run.store, run.name)
    delivery = DeliveryThread(uri(tracked), [run])

    def report(number: float) -> Message:
        return Message(kind="events", attempt=1, events=(NumbersReported(step="evaluate", numbers={"told": number}),))

    outbox.append(report(1.0))
    wait_until(lambda: not outbox.num_pending())
    client(tracked).delete_run(runs_of(tracked, "scored")["evaluate"].info.run_id)
    Tracker(uri(tracked)).deliver(run, report(2.0))
    outbox.append(report(3.0))
    assert delivery.close() == 0 and delivery.problem == ""
    assert runs_of(tracked, "scored")["evaluate"].data.metrics["told"] == 3.0


def test_a_server_that_is_away_costs_no_step_and_is_told_later(tracked: NeoSite) -> None:
    there = tracked.file.read_text()
    tracked.file.write_text(f'store = "{tracked.folder}/store"\nmlflow = "http://127.0.0.1:9"\n')
    said = tracked.neo("run", SCORED)
    assert said.code == 0
    assert "has not taken everything" in said.out
    (run,) = all_runs(tracked.store)
    assert Outbox(tracked.store, run.name).num_pending()
    tracked.file.write_text(there)
    shown = [tracked.neo("show", "scored/evaluate").code]
    while Outbox(tracked.store, run.name).num_pending() and len(shown) < 10:
        shown.append(tracked.neo("show", "scored/evaluate").code)  # a slow tracker leaves messages to the next command
    assert not any(shown)
    assert runs_of(tracked, "scored")["evaluate"].data.metrics["accuracy"] == 0.95


def test_knocking_tells_at_once_that_nobody_is_there() -> None:
    with pytest.raises(OSError, match="refused"):
        check_reachable("http://127.0.0.1:9/path")
    check_reachable("sqlite:////nowhere/mlflow.db")


def test_a_killed_run_does_not_stay_running(tracked: NeoSite) -> None:
    driver = tracked.start("run", DATA, TOY_STUCK_FROM_PART="1")
    wait_until(lambda: is_running(tracked))
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    (run,) = all_runs(tracked.store)
    assert runs_of(tracked, "data")[run.name].info.status == "RUNNING"
    assert "killed" in tracked.neo("show", run.name).out
    pages = runs_of(tracked, "data")
    assert {page.info.status for page in pages.values()} == {"KILLED"}
    assert tracked.neo("run", DATA).code == 0
    pages = runs_of(tracked, "data")
    assert {page.info.status for page in pages.values()} == {"FINISHED"}
    assert pages[run.name].data.tags["neo.attempt"] == "2"


def is_running(site: NeoSite) -> bool:
    """Whether the step's page is there and says that it runs."""
    import sqlite3

    with sqlite3.connect(f"file:{site.folder}/mlflow.db?mode=ro", uri=True) as database:
        found = database.execute("select count(*) from runs where name = 'pairs' and status = 'RUNNING'")
        return found.fetchone()[0] == 1


def test_a_failed_step_is_failed_on_its_page_and_says_why(tracked: NeoSite) -> None:
    tracked.neo("run", f"{TOYS}:broken_data")
    pages = runs_of(tracked, "broken_data")
    assert pages["kept"].info.status == "FAILED"
    assert "broke on purpose" in pages["kept"].data.tags["neo.reason"]
    (run,) = all_runs(tracked.store)
    assert pages[run.name].info.status == "FAILED"


def test_pages_made_twice_by_two_commands_become_one(tracked: NeoSite) -> None:
    tracked.neo("run", SCORED)
    mlflow = client(tracked)
    experiment = mlflow.get_experiment_by_name("scored").experiment_id
    first = mlflow.search_runs([experiment], "tags.`neo.step` = 'llm'")[0]
    twin = mlflow.create_run(experiment, tags=first.data.tags, run_name="llm")
    redeliver(tracked)
    assert runs_of(tracked, "scored")["llm"].info.run_id == first.info.run_id
    assert mlflow.get_run(twin.info.run_id).info.lifecycle_stage == "deleted"
    assert mlflow.get_run(twin.info.run_id).data.tags["neo.duplicate_of"] == first.info.run_id


def test_a_deleted_experiment_is_brought_back(tracked: NeoSite) -> None:
    tracked.neo("run", SCORED)
    mlflow = client(tracked)
    mlflow.delete_experiment(mlflow.get_experiment_by_name("scored").experiment_id)
    tracked.neo("run", SCORED, "--set", "evaluate.kinds=[]")
    assert mlflow.get_experiment_by_name("scored").lifecycle_stage == "active"
