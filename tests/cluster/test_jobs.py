"""What is sent to a job server, and what is said where there is none. Jobs that run are in test_submissions.py."""

import socket

import pytest

from cluster.import_path import CODE_FOLDER
from cluster.jobs import JobError, Jobs
from cluster.site import RaySettings, Site


def site_with(**settings: object) -> Site:
    return Site(name="away", store="s3://bucket/neo", mlflow="http://mlflow.invalid", **settings)


@pytest.fixture
def nobody() -> Jobs:
    """The job server of an address where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return Jobs(site_with(ray=RaySettings(address="auto", jobs=f"http://127.0.0.1:{port}")))


def test_where_no_server_listens_each_request_names_the_site_and_the_address(nobody: Jobs) -> None:
    for request in (
        lambda: nobody.submit("job", "pipelines.driver", []),
        lambda: nobody.state("job"),
        lambda: nobody.stop("job"),
    ):
        with pytest.raises(JobError, match=rf"site 'away': there is no job server at '{nobody.address}'.*refused"):
            request()


def test_jobs_go_to_the_sites_dashboard_or_else_to_its_cluster() -> None:
    assert Jobs(site_with(ray=RaySettings(address="head:6379"))).address == "head:6379"
    assert Jobs(site_with(ray=RaySettings(address="auto", jobs="http://head:8265"))).address == "http://head:8265"


def test_a_job_gets_the_code_that_its_site_asks_for_and_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("NEO_LOST_AFTER_SECONDS", "9")
    given = {
        code: Jobs(site_with(code=code, secrets=("AWS_SECRET_ACCESS_KEY",)))._environment()
        for code in ("local", "image", "wheel")
    }
    assert "hidden" not in str(given)
    assert all(environment["env_vars"]["NEO_LOST_AFTER_SECONDS"] == "9" for environment in given.values())
    assert str(CODE_FOLDER) in given["local"]["env_vars"]["PYTHONPATH"].split(":")
    assert "PYTHONPATH" not in given["image"]["env_vars"]
    assert [path.rpartition("/")[2] for path in given["wheel"]["py_modules"]] == [
        "neo_model",
        "stages",
        "cluster",
        "pipelines",
    ]
