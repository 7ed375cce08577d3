"""Ray Jobs: the driver of a run as a process of the cluster, so that the machine where it was asked for may be closed.

Owns what is told to a cluster's job server: the command, the environment and the code that go with it. A job is named
by who submits it; Ray knows a name once, which makes submitting it twice harmless. Credentials are never sent.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from cluster.import_path import package_folders, python_path
from cluster.listening import SECONDS_TO_ANSWER, look_for
from cluster.site import Site

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

JobState = Literal["waiting", "running", "ended", "absent"]
STATES: Mapping[str, JobState] = {"PENDING": "waiting", "RUNNING": "running"}
"""Of Ray's words; the others are ends."""
STOP_GRACE_SECONDS = 120
"""From SIGTERM to SIGKILL where Ray stops a job: parts under way end, training commits at its next step."""
ADDRESS_VARIABLES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
TOKEN_REFUSED = "authentication token"
"""In what Ray says to those who show no token, or another one than its own."""
SAME_EVERYWHERE = ("NEO_LOST_AFTER_SECONDS",)
"""Settings of ours that all machines must agree on; where the command has them, the driver gets them too."""
NUM_LAST_WORDS = 3
"""Lines shown of a job that died before it could say more: of a traceback, the error."""


class JobError(RuntimeError):
    """The cluster's job server cannot be reached, or did not take a job; the message says where and what to do."""


@dataclass(frozen=True)
class Jobs:
    """The job server of a site's cluster."""

    site: Site

    @property
    def address(self) -> str:
        return self.site.ray.jobs or self.site.ray.address

    def submit(self, job: str, module: str, arguments: Sequence[str]) -> bool:
        """Start `python -P -m module arguments` on the cluster. False if there is, or was, a job of this name.

        Without `-P`, a `pipelines` folder where the cluster starts its jobs would be imported in the place of ours.
        """
        command = f"exec {shlex.join([self._python, '-P', '-m', module, *arguments])}"
        client = self._client
        try:
            client.submit_job(entrypoint=command, submission_id=job, runtime_env=self._environment())
        except Exception as error:
            if "already exists" in str(error):  # Ray says it as an internal error, HTTP 500
                return False
            raise self._failed(f"job {job} was not taken", error) from error
        return True

    def state(self, job: str) -> JobState:
        """How a job stands. Raises `JobError` where the server does not answer."""
        status = self._details(job).get("status")
        if status is None:
            return "absent"
        return STATES.get(str(status), "ended")

    def last_words(self, job: str) -> str:
        """The end of what a job printed, or what Ray says of it if it never got so far."""
        lines = [line.strip() for line in str(self._details(job).get("message") or "").splitlines() if line.strip()]
        return " | ".join(lines[-NUM_LAST_WORDS:])

    def stop(self, job: str) -> bool:
        """SIGTERM to a job, SIGKILL after a grace. False where it is not running."""
        client = self._client
        try:
            return bool(client.stop_job(job))
        except Exception as error:
            if "does not exist" in str(error):
                return False
            raise self._failed(f"job {job} could not be stopped", error) from error

    def ray_version(self) -> str:
        """Version of the cluster's Ray. Raises `JobError` where the server does not answer."""
        client = self._client
        try:
            # `get_version` tells the version of the interface; the request that it makes tells Ray's as well.
            return str(client._do_request("GET", "/api/version").json()["ray_version"])
        except Exception as error:
            raise self._failed("the job server did not say its version", error) from error

    def is_open_to_all(self) -> bool:
        """Whether the server answers those who show no token."""
        from urllib.request import urlopen

        try:
            with urlopen(f"{self._client.get_address()}/api/jobs/", timeout=SECONDS_TO_ANSWER) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    @cached_property
    def _client(self) -> JobSubmissionClient:
        from ray.job_submission import JobSubmissionClient

        logging.getLogger("ray").setLevel(logging.WARNING)  # it would tell of each folder that it sends
        try:
            look_for(self.address)
            with _own_address(self.address):
                return JobSubmissionClient(self.address)
        except Exception as error:
            raise self._failed("there is no job server", error) from error

    def _details(self, job: str) -> dict[str, Any]:
        client = self._client
        try:
            details = client.get_job_info(job)
        except Exception as error:
            if "does not exist" in str(error):
                return {}
            raise self._failed(f"nothing is known of job {job}", error) from error
        return {"status": details.status, "message": details.message}

    @property
    def _python(self) -> str:
        """Where the cluster sees this folder it sees this Python too; an image has its own."""
        return sys.executable if self.site.code == "local" else "python"

    def _environment(self) -> dict[str, Any]:
        variables = {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_GRACE_SECONDS)}
        variables |= {name: os.environ[name] for name in SAME_EVERYWHERE if name in os.environ}
        if self.site.code == "local":
            variables |= python_path()
        if self.site.code == "wheel":
            return {"env_vars": variables, "py_modules": package_folders(), "excludes": ["__pycache__"]}
        return {"env_vars": variables}

    def _failed(self, what: str, error: Exception) -> JobError:
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        if TOKEN_REFUSED in said.lower():
            do = "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the token of the cluster"
            what = "the job server lets nobody in without its token"
        else:
            do = "see that the cluster and its dashboard are up and that the site's [ray] jobs or address is right"
        return JobError(f"site {self.site.name!r}: {what} at {self.address!r}: {said}; {do}")


@contextmanager
def _own_address(address: str) -> Iterator[None]:
    """Ray lets its variables outvote an address that was given; a site that names a cluster means that one."""
    hidden = (
        {} if address == "auto" else {name: os.environ.pop(name) for name in ADDRESS_VARIABLES if name in os.environ}
    )
    try:
        yield
    finally:
        os.environ.update(hidden)
