"""What is sent to a job server, also behind a login and a proxy, and what is said where there is none.

Runs that are submitted are in test_submissions.py.
"""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.import_path import CODE_FOLDER
from cluster.jobs import JobError, Jobs
from cluster.placement import DriverResources
from cluster.site import RaySettings, Site
from pipelines.doctor import check_cluster
from tests.cluster.login_server import HOST, login_before, own_certificate, proxy_to
from tests.pipelines.ray_head import RayHead, ray_head


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


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    with ray_head(num_cpus=1) as running:
        yield running


@pytest.fixture
def behind(head: RayHead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site whose dashboard, that of a real head, is behind a login with a certificate of its own, and a proxy."""
    certificate = own_certificate(tmp_path)
    login = {"LOGIN_HEADER": "let me in", "LOGIN_COOKIE": "me", "LOGIN_CERTIFICATES": str(certificate)}
    login["RAY_HEADER"] = f"Bearer {head.environment['RAY_AUTH_TOKEN']}"  # Ray has read this process's mode before
    with login_before(head.jobs, "let me in", "me", certificate) as port, proxy_to(port) as (proxy, asked):
        for name, value in (login | {"HTTPS_PROXY": proxy, "NO_PROXY": "127.0.0.1"}).items():
            monkeypatch.setenv(name, value)
        for name in ("https_proxy", "no_proxy", "REQUESTS_CA_BUNDLE"):
            monkeypatch.delenv(name, raising=False)
        settings = {
            "headers": {"X-Login": "LOGIN_HEADER", "Authorization": "RAY_HEADER"},
            "cookies": {"session": "LOGIN_COOKIE"},
        }
        yield site_with(
            code="local",
            ray=RaySettings(address="auto", jobs=f"https://{HOST}:{port}", verify="LOGIN_CERTIFICATES", **settings),
        )
        assert set(asked) <= {f"{HOST}:{port}"}


def test_a_job_runs_and_is_followed_behind_a_login_and_a_proxy(behind: Site) -> None:
    jobs = Jobs(behind)
    assert jobs.state("mine") == "absent"
    assert jobs.submit("mine", "platform", [])
    assert not jobs.submit("mine", "platform", [])
    deadline = time.monotonic() + 120
    while jobs.state("mine") != "ended" and time.monotonic() < deadline:
        time.sleep(0.2)
    assert jobs.state("mine") == "ended" and not jobs.stop("mine")
    assert check_cluster(behind).verdict == "ok"


def test_a_drivers_job_reserves_what_the_site_says_and_is_placed_by_it(
    head: RayHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_HEADER", f"Bearer {head.environment['RAY_AUTH_TOKEN']}")
    ray = RaySettings(address="auto", jobs=head.jobs, headers={"Authorization": "RAY_HEADER"})
    mib = 1024**2
    asked = {
        "fits": DriverResources(cpus=0.5, memory_bytes=32 * mib),
        "too-many-cpus": DriverResources(cpus=2),
        "too-much-memory": DriverResources(memory_bytes=mib**2),
        "elsewhere": DriverResources(labels={"neo-group": "driver"}),
        "of-another-kind": DriverResources(resources={"disk": 1}),
    }
    jobs = {name: Jobs(site_with(code="local", ray=ray, driver=driver)) for name, driver in asked.items()}
    assert all(server.submit(name, "platform", []) for name, server in jobs.items())
    deadline = time.monotonic() + 120
    while jobs["fits"].state("fits") != "ended" and time.monotonic() < deadline:
        time.sleep(0.2)
    states = {name: server.state(name) for name, server in jobs.items()}
    assert states == {name: "ended" if name == "fits" else "waiting" for name in asked}
    for name, server in jobs.items():
        server.stop(name)


def changed(site: Site, **settings: object) -> Site:
    return site.model_copy(update={"ray": site.ray.model_copy(update=settings)})


def test_what_a_login_lacks_is_said_and_no_value_is_shown(behind: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JobError, match=r"a login stands before.*\[ray\] headers or cookies") as refused:
        Jobs(changed(behind, cookies={})).state("job")
    assert "let me in" not in str(refused.value)
    with pytest.raises(JobError, match="certificate is not trusted: self-signed certificate.*verify"):
        Jobs(changed(behind, verify="")).state("job")
    monkeypatch.delenv("LOGIN_HEADER")
    with pytest.raises(JobError, match="names LOGIN_HEADER for the login"):
        Jobs(behind).state("job")


def test_a_login_that_refuses_is_told_from_the_clusters_token(
    head: RayHead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = own_certificate(tmp_path)
    monkeypatch.setenv("LOGIN_CERTIFICATES", str(certificate))
    with login_before(head.jobs, "let me in", "me", certificate, refusal=401) as port:
        ray = RaySettings(jobs=f"https://localhost:{port}", verify="LOGIN_CERTIFICATES")
        with pytest.raises(JobError, match="a login stands before"):
            Jobs(site_with(ray=ray)).state("job")


def test_the_page_of_a_login_is_no_open_job_server(behind: Site) -> None:
    jobs = Jobs(behind)
    assert jobs.state("job") == "absent"  # connected
    stranger = Jobs(changed(behind, headers={}, cookies={}))
    stranger.__dict__["_client"] = jobs._client
    assert not stranger.is_open_to_all()


def test_a_proxy_that_is_away_is_named(behind: Site, monkeypatch: pytest.MonkeyPatch, nobody: Jobs) -> None:
    monkeypatch.setenv("HTTPS_PROXY", nobody.address)
    with pytest.raises(JobError, match=r"the proxy 127.0.0.1:\d+, which the environment names for it"):
        Jobs(behind).state("job")
