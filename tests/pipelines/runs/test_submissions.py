"""`neo submit` on a real cluster with its job server: the driver is the cluster's, and the command may go away."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from cluster.site import RaySettings, load_site
from cluster.versions import Versions
from pipelines.driver import CalledOffError, drive
from pipelines.exits import ExitCode, RefusedError
from pipelines.runs.log import last_lines
from pipelines.runs.run import Run, all_runs
from pipelines.runs.submissions import SubmissionEnd, Submissions
from stages.store.metadata import open_store
from stages.store.refs import read_ref
from stages.store.store import Store
from tests.pipelines.conftest import NOBODY, ROOT, TOYS, NeoSite, Said
from tests.pipelines.ray_head import RayHead, ray_head
from tests.pipelines.running.test_execute_run import wait_until

DATA = f"{TOYS}:data"

OWN_STAGE = '''
import time
from functools import partial
from pathlib import Path

from stages.artifacts.kinds import KeptPairs
from stages.contract import ItemBalance, Part, PartDraft, Recipe, StageContext, stage


class OwnRecipe(Recipe):
    word: str = "mine"
    """What is written."""
    gate: str = ""
    """A file for which all parts but the first two wait."""


def write_part(part: Part, draft: PartDraft, word: str, gate: str) -> None:
    while gate and part.name not in ("0", "1") and not Path(gate).exists():
        time.sleep(0.1)
    draft.path("word.txt").write_text(word)
    draft.count(ItemBalance(kept=1))


@stage(number=1, recipe=OwnRecipe, makes=KeptPairs)
def own(recipe: OwnRecipe, *, ctx: StageContext) -> None:
    work = partial(write_part, word=recipe.word, gate=recipe.gate)
    ctx.spread(work, over=[Part(name=str(number)) for number in range(8)], phase="write")


def mine():
    return own.bind("own", OwnRecipe())
'''


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    with ray_head() as running:
        yield running


@dataclass(frozen=True)
class OnCluster:
    """The command line on a site whose cluster is the head."""

    folder: Path
    head: RayHead

    @property
    def file(self) -> Path:
        return self.folder / "cluster.toml"

    @property
    def store(self) -> Store:
        return Store(self.folder / "store")

    @property
    def run(self) -> Run:
        (run,) = all_runs(self.store)
        return run

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", *words, "--site", str(self.file)],
            cwd=ROOT,
            env=os.environ | self.head.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def neo(self, *words: str) -> Said:
        process = self.start(*words)
        out, err = process.communicate(timeout=240)
        return Said(process.returncode, out, err)


@pytest.fixture
def cluster(tmp_path: Path, head: RayHead) -> OnCluster:
    folder = tmp_path / "on_cluster"
    folder.mkdir()
    (folder / "cluster.toml").write_text(
        f'store = "{folder}/store"\nmlflow = "{NOBODY}"\ncode = "local"\n'
        f'[ray]\naddress = "{head.address}"\njobs = "{head.jobs}"\n'
    )
    return OnCluster(folder, head)


def contents(store: Store, pipeline: str) -> dict[str, tuple[str, str]]:
    """Step to fingerprint and content digest of what is committed."""
    refs = {step: read_ref(store, f"{pipeline}/{step}") for step in store.folders(f"refs/{pipeline}/")}
    return {
        step: (ref["fingerprint"], read_content(store, ref["stage"], ref["fingerprint"])) for step, ref in refs.items()
    }


def read_content(store: Store, stage: str, fingerprint: str) -> str:
    return store.read_json(f"artifacts/{stage}/{fingerprint[:12]}/manifest.json")["content"]


def num_recorded(cluster: OnCluster) -> int:
    return len(list(cluster.folder.glob("store/artifacts/own/*/records/write/*.json")))


def test_a_users_file_is_submitted_once_stopped_and_gone_on_with_and_makes_what_run_makes(
    cluster: OnCluster, site: NeoSite, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(OWN_STAGE)
    asked = (f"{tmp_path}/mine.py:mine", "--set", f"own.gate={tmp_path}/gate")
    first = cluster.neo("submit", *asked, "--json")
    assert first.code == 0, first
    name = first.json["run"]
    assert first.json["state"] == "running" and first.json["job"].startswith(f"{name}-1-")
    second = cluster.neo("submit", *asked)
    assert second.code == 0 and f"Run {name} is under way already: attached to attempt 1." in second.out
    wait_until(lambda: num_recorded(cluster) == 2, seconds=180)
    assert "Asked attempt 1 on" in cluster.neo("cancel", name, "--no-wait").out
    wait_until(
        lambda: any("Asked to stop by `neo cancel`" in line for line in last_lines(cluster.run, 1, None)[0]),
        seconds=180,
    )
    (tmp_path / "gate").touch()
    cancelled = cluster.neo("cancel", name)
    assert cancelled.code == 0 and ": interrupted, attempt 1" in cancelled.out, cancelled
    assert cancelled.last_line == f"Next: neo submit {name} --site {cluster.file}"
    assert "there is nothing to stop" in cluster.neo("cancel", name).out
    assert site.neo("run", *asked).code == 0
    (tmp_path / "mine.py").unlink()
    again = cluster.neo("submit", name, "--wait")
    assert again.code == 0, again
    assert f"Submitted as Ray job {name}-2-" in again.out and ": done, attempt 2" in again.out
    manifest = manifest_of(cluster.store, "mine/own")
    assert {part["made_by"]["attempt"] for part in manifest["parts"]} == {f"{name}-1", f"{name}-2"}
    assert manifest["provenance"]["user_file_sha256"]
    assert contents(cluster.store, "mine") == contents(site.store, "mine")


def manifest_of(store: Store, name: str) -> dict:
    ref = read_ref(store, name)
    return store.read_json(f"artifacts/{ref['stage']}/{ref['fingerprint'][:12]}/manifest.json")


@pytest.mark.long
def test_a_bug_fixed_in_the_file_of_a_submitted_run_runs(cluster: OnCluster, tmp_path: Path) -> None:
    """The fixed code goes with the plan to the cluster, with the module beside the file, and makes all parts."""
    file, helpers = tmp_path / "mine.py", tmp_path / "helpers.py"
    fixed = OWN_STAGE.replace("import time\n", "import time\nimport helpers\n").replace(
        "write_text(word)", "write_text(helpers.loud(word))"
    )
    helpers.write_text("def loud(word):\n    return word.upper()\n")
    file.write_text(fixed.replace("    draft.count(", "    assert part.name != '3'\n    draft.count("))
    failed = cluster.neo("submit", f"{file}:mine", "--wait")
    assert failed.code == 1, failed
    name = cluster.run.name
    file.write_text(fixed)
    kept = cluster.neo("submit", name, "--keep-code", "--wait")
    assert kept.code == 1 and cluster.run.name == name, kept
    again = cluster.neo("submit", name, "--wait")
    assert again.code == 0, again
    assert (
        f"{file} has changed since run {name} was frozen. It continues with the newest code as run mine-" in again.out
    )
    assert "the code changed: stage own of mine.py" in again.out
    manifest = manifest_of(cluster.store, "mine/own")
    assert {cluster.store.read(part["files"][0]["key"]) for part in manifest["parts"]} == {b"MINE"}
    assert {part["made_by"]["code"] for part in manifest["parts"]} == set(manifest["provenance"]["code_texts"])
    assert cluster.neo("submit", f"{file}:mine", "--keep-code").code == 2


@pytest.mark.long
def test_ctrl_c_lets_go_of_a_run_and_cancel_stops_one_that_does_not_answer(cluster: OnCluster, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN_STAGE)
    asked = (f"{tmp_path}/mine.py:mine", "--set", "own.gate=/never/there")
    command = cluster.start("submit", *asked, "--wait")
    wait_until(lambda: num_recorded(cluster) == 2, seconds=180)
    command.send_signal(signal.SIGINT)
    out, _ = command.communicate(timeout=120)
    assert command.returncode == 0 and "Not watching any more; the run goes on." in out
    assert "neo status mine-" in out.splitlines()[-1] and "neo cancel mine-" in out.splitlines()[-1]
    assert cluster.run.state() in ("running", "unknown")
    cancelled = cluster.neo("cancel", "mine", "--grace", "1")
    assert cancelled.code == 0 and f"No answer for 1 s: stopping Ray job {cluster.run.name}-1-" in cancelled.out
    assert cluster.run.end(1).outcome == "interrupted"
    assert cluster.run.end(1).reason == "stopped at once, being asked twice"


@pytest.mark.long
def test_a_lost_driver_is_started_again_by_its_job_and_a_lost_job_by_the_command_that_waits(
    cluster: OnCluster, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(OWN_STAGE)
    asked = (f"{tmp_path}/mine.py:mine", "--set", f"own.gate={tmp_path}/gate")
    command = cluster.start("submit", *asked, "--wait", "--retries", "2")
    wait_until(lambda: num_recorded(cluster) == 2, seconds=180)
    os.kill(cluster.run.attempt(1).process_id, signal.SIGKILL)
    wait_until(lambda: cluster.run.num_attempts == 2, seconds=180)
    second = psutil.Process(cluster.run.attempt(2).process_id)
    for process in (second.parent(), second):
        process.kill()
    wait_until(lambda: cluster.run.num_attempts == 3, seconds=180)
    (tmp_path / "gate").touch()
    out, err = command.communicate(timeout=240)
    assert command.returncode == 0, err
    assert "was lost with its job; retry 1 of 2" in out and ": done, attempt 3" in out
    first_job, second_job = (Submissions(cluster.run).read(number).job for number in (1, 2))
    assert [record.job for record in cluster.run.attempts()] == [first_job, first_job, second_job]
    manifest = manifest_of(cluster.store, "mine/own")
    assert "1" in {part["made_by"]["attempt"].rpartition("-")[2] for part in manifest["parts"]}


def test_the_doctor_finds_the_cluster_that_the_site_names_and_that_it_wants_a_token(
    cluster: OnCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")  # Ray's own client would go there
    document = cluster.neo("doctor", "--json").json
    (found,) = (finding for finding in document["findings"] if finding["name"] == "ray")
    assert found["verdict"] == "ok" and found["said"].endswith("with a token"), found


def test_who_shows_another_token_is_told_so(cluster: OnCluster) -> None:
    stranger = replace(cluster.head, environment={"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64})
    refused = replace(cluster, head=stranger).neo("submit", DATA)
    assert refused.code == 3 and "refuses requests without its token" in refused.err and "RAY_AUTH_TOKEN" in refused.err


def test_a_driver_with_other_versions_refuses_and_the_command_says_so(
    cluster: OnCluster, site: NeoSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that froze it had another Ray, and died before it could submit; the next one does it."""
    run = frozen_only(cluster.store, site)
    monkeypatch.setattr(Versions, "here", lambda: Versions(python="3.14", ray="9.9.9", package="0.0.1"))
    Submissions(run).begin(load_site(cluster.file))
    said = cluster.neo("submit", DATA)
    assert said.code == 3, said
    assert "Ray 2.60" in said.err and "9.9.9 there" in said.err and "Python 3.11 here, 3.14 there" in said.err
    assert list(run.attempts()) == []


def frozen_only(store: Store, site: NeoSite) -> Run:
    """The toys' run, frozen in a store and never begun."""
    made = site.neo("run", DATA, "--json").json["run"]
    open_store(store)
    store.create_json(f"runs/{made}/plan.json", site.store.read_json(f"runs/{made}/plan.json"))
    return Run(store, made)


def test_a_job_that_dies_before_it_begins_is_told_by_its_last_words(cluster: OnCluster, site: NeoSite) -> None:
    run = frozen_only(cluster.store, site)
    submission = Submissions(run).begin(load_site(cluster.file))
    record = cluster.folder / "store" / run.folder / "submissions" / "1.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"site": {"nonsense": 1}}))
    said = cluster.neo("submit", DATA)
    assert said.code == 3, said
    assert (
        f"Ray job {submission.job} ended before it began:" in said.err and "Extra inputs are not permitted" in said.err
    )
    assert len(said.err.splitlines()) == 2 and said.last_line.startswith(f"Next: neo submit {run.name}")


def test_a_machine_without_the_secrets_that_the_site_names_is_refused_by_name(
    cluster: OnCluster, site: NeoSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.file.write_text('secrets = ["NEO_TEST_KEY"]\n' + cluster.file.read_text())
    run = frozen_only(cluster.store, site)
    submission = Submissions(run).begin(load_site(cluster.file))
    with pytest.raises(RefusedError, match="lack the environment variables NEO_TEST_KEY"):
        drive(run, submission.number)
    assert Submissions(run).end(submission.number).code == 3
    assert "NEO_TEST_KEY" in json.dumps(submission.site)


def test_what_cannot_be_submitted_is_refused_before_anything_is_written(site: NeoSite, tmp_path: Path) -> None:
    embedded = site.neo("submit", DATA)
    assert embedded.code == 2 and "has no cluster to submit to" in embedded.err
    table = f'store = "{tmp_path}/store"\n[ray]\naddress = "127.0.0.1:9"\n'
    site.file.write_text(f'mlflow = "https://me:secret@mlflow.example.com"\n{table}')
    leaky = site.neo("submit", DATA)
    assert leaky.code == 2 and "holds a password" in leaky.err and "secret" not in leaky.err
    site.file.write_text(f'mlflow = "{NOBODY}"\n{table}')
    away = site.neo("submit", DATA)
    assert away.code == 3 and "there is no job server at '127.0.0.1:9'" in away.err


def test_a_submission_is_called_off_even_where_its_cluster_is_gone(cluster: OnCluster, site: NeoSite) -> None:
    run = frozen_only(cluster.store, site)
    gone = load_site(cluster.file).model_copy(update={"ray": RaySettings(address="127.0.0.1:9")})
    submission = Submissions(run).begin(gone)
    waits = site.type_(["status", run.name, "--site", str(cluster.file)])
    assert f"planned, submitted as Ray job {submission.job}, which has not begun" in waits.out
    said = site.type_(["cancel", run.name, "--site", str(cluster.file)])
    assert said.code == 0, said
    assert f"Ray job {submission.job} was called off before it began." in said.out
    assert "will end at once if it begins: site 'cluster': there is no job server at '127.0.0.1:9'" in said.out
    with pytest.raises(CalledOffError, match="called off before it began"):
        drive(run, submission.number)
    assert list(run.attempts()) == []


def test_the_end_of_a_submission_keeps_the_field_names_of_the_first_release() -> None:
    stored = {"code": 75, "said": "called off", "then": "neo submit tiny-1", "at_seconds": 1.0}
    end = SubmissionEnd.model_validate(stored)
    assert (end.code, end.message) == (ExitCode.INTERRUPTED, "called off")
    assert end.model_dump(mode="json") == stored
