"""A submission whose head is lost before its driver begins: told in words, in bounded time, and submitted again."""

import time
from pathlib import Path

import pytest

from cluster.jobs import JobError
from cluster.site import RaySettings, load_site
from pipelines.commands.pending_job import JobLostError, PendingJob
from pipelines.exits import ExitCode
from pipelines.runs.run import Run
from pipelines.runs.submissions import Submission, Submissions
from tests.pipelines.conftest import TOYS, NeoSite
from tests.pipelines.ray_head import free_ports, ray_head
from tests.pipelines.runs.test_submissions import OWN_STAGE, OnCluster


@pytest.fixture
def submitted(site: NeoSite) -> tuple[Run, Submission]:
    """A run that was submitted to a cluster where nothing listens."""
    run = Run(site.store, site.neo("run", f"{TOYS}:data", "--json").json["run"])
    (port,) = free_ports(1)
    away = load_site(site.file).model_copy(update={"ray": RaySettings(address=f"127.0.0.1:{port}")})
    submission = Submissions(run).begin(away)
    assert submission is not None
    return run, submission


def test_a_cluster_that_does_not_answer_is_borne_with_for_a_while(submitted: tuple[Run, Submission]) -> None:
    run, submission = submitted
    pending = PendingJob(run, submission, submission.target_site, patience_seconds=0.5)
    with pytest.raises(JobLostError, match=rf"{submission.job} was lost before it began: .* not answered") as lost:
        while True:
            pending.look()
            time.sleep(0.05)
    assert lost.value.code == ExitCode.STEP_FAILED and lost.value.then == f"neo submit {run.name}"
    assert pending.is_pending, "a head that comes back may still begin it"


def test_a_command_that_does_not_stay_ends_at_once(submitted: tuple[Run, Submission]) -> None:
    run, submission = submitted
    with pytest.raises(JobError, match="there is no job server"):
        PendingJob(run, submission, submission.target_site).look()


@pytest.mark.long
def test_a_head_that_is_lost_before_the_driver_begins_costs_a_retry(tmp_path: Path) -> None:
    """The first head has no room for the driver, so that its job waits; the second remembers nothing of it."""
    (tmp_path / "mine.py").write_text(OWN_STAGE)
    with ray_head(num_cpus=1) as first:
        cluster = OnCluster(tmp_path, first)
        cluster.file.write_text(
            f'store = "{tmp_path}/store"\nmlflow = "http://127.0.0.1:9"\ncode = "local"\n[driver]\ncpus = 2\n'
            f'[ray]\naddress = "{first.address}"\njobs = "{first.jobs}"\n'
        )
        asked = ("submit", f"{tmp_path}/mine.py:mine", "--wait")
        command = cluster.start(*asked, "--retries", "1")
        assert command.stdout is not None
        assert any("Submitted as Ray job" in line for line in command.stdout)
    with ray_head(num_cpus=3, again=first):
        out, err = command.communicate(timeout=240)
        assert command.returncode == 0, (out, err)
        job = Submissions(cluster.run).last().job
        assert f"Ray job {job} was lost before it began: the cluster does not know it any more" in out
        assert "; retry 1 of 1." in out and ": done, attempt 1" in out
        assert Submissions(cluster.run).num_submissions == 1, "the same job, submitted again"
