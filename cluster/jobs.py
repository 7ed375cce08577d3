"""Ray Jobs: the driver of a run as a process of the cluster, independent of the machine that submitted it.

Owns the requests to a cluster's job server, and the command, the environment and the code that a job is given. The
caller names the job; Ray accepts a name once, so submitting twice is idempotent. Credentials are never sent, but those
of a login before the dashboard, to the dashboard.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import ssl
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from cluster.import_path import package_folders, python_path
from cluster.listening import TIMEOUT_SECONDS, check_listening
from cluster.site import Site

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

JobState = Literal["waiting", "running", "ended", "absent"]
STATES: Mapping[str, JobState] = {"PENDING": "waiting", "RUNNING": "running"}
"""Job states by Ray's name for them; every other name means that the job has ended."""
STOP_GRACE_SECONDS = 120
"""Seconds from SIGTERM to SIGKILL when Ray stops a job. Parts that run end; training commits at its next step."""
ADDRESS_VARIABLES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
"""Variables that Ray prefers to an address given in code."""
TOKEN_REFUSED = "authentication token"
"""Text by which Ray's answer to a missing or wrong token is recognised; it has no error class."""
SHARED_VARIABLES = ("NEO_LOST_AFTER_SECONDS",)
"""Our settings that must be equal on all machines: copied from the command's environment to the driver's."""
TOKEN_HEADERS = ("authorization", "x-ray-authorization")
"""Headers in which a cluster takes its token."""
LOGIN_ASKED = ("authentication required", "authentication failed", "unauthorized", "forbidden", "expecting value")
"""Texts by which the answer of a login before the dashboard is recognised: a refusal, or a page instead of JSON."""
MAX_MESSAGE_CHARACTERS = 300
"""Most of an error's first line that is shown: a login may answer with a whole page."""
NUM_LAST_LINES = 3
"""Lines shown of the output of a job that failed early: the end of a traceback is the error."""


class JobError(RuntimeError):
    """The cluster's job server cannot be reached or refused a job; the message names the address and a remedy."""


@dataclass(frozen=True)
class Jobs:
    """The job server of a site's cluster."""

    site: Site

    @property
    def address(self) -> str:
        """Address of the job server: the site's own entry for it, else the cluster's address."""
        return self.site.ray.jobs or self.site.ray.address

    def submit(self, job: str, module: str, arguments: Sequence[str]) -> bool:
        """Start `python -P -m module arguments` on the cluster. False if there is, or was, a job of this name.

        Without `-P`, a `pipelines` folder where the cluster starts its jobs would be imported in the place of ours.
        """
        command = f"exec {shlex.join([self._python, '-P', '-m', module, *arguments])}"
        client = self._client
        try:
            client.submit_job(
                entrypoint=command,
                submission_id=job,
                runtime_env=self._environment(),
                **self.site.driver.job_options(),
            )
        except Exception as error:
            if "already exists" in str(error):  # Ray answers HTTP 500, without an error class of its own
                return False
            raise self._failed(f"job {job} was not accepted", error) from error
        return True

    def state(self, job: str) -> JobState:
        """State of a job. Raises `JobError` if the server does not answer."""
        status = self._details(job).get("status")
        if status is None:
            return "absent"
        return STATES.get(str(status), "ended")

    def last_lines(self, job: str) -> str:
        """The last lines that a job printed, or Ray's message if the job never started. Joined by ` | `."""
        lines = [line.strip() for line in str(self._details(job).get("message") or "").splitlines() if line.strip()]
        return " | ".join(lines[-NUM_LAST_LINES:])

    def exit_code(self, job: str) -> int | None:
        """Exit code of a job's own process; None while it runs, and where the job was lost or stopped instead."""
        code = self._details(job).get("exit_code")
        return None if code is None else int(code)

    def stop(self, job: str) -> bool:
        """Send SIGTERM, and SIGKILL after `STOP_GRACE_SECONDS`. False if the job is not running."""
        client = self._client
        try:
            return bool(client.stop_job(job))
        except Exception as error:
            if "does not exist" in str(error):
                return False
            raise self._failed(f"job {job} could not be stopped", error) from error

    def ray_version(self) -> str:
        """Version of the cluster's Ray. Raises `JobError` if the server does not answer."""
        client = self._client
        try:
            # `get_version` returns the version of the interface; the same request returns Ray's own version as well.
            return str(client._do_request("GET", "/api/version").json()["ray_version"])
        except Exception as error:
            raise self._failed("the job server did not answer with its version", error) from error

    def is_open_to_all(self) -> bool:
        """Whether the server lists its jobs without a token, to all that have passed its login if it has one."""
        import requests

        url = f"{self._client.get_address()}/api/jobs/"
        login = self._login
        own = {header: value for header, value in login["headers"].items() if header.lower() not in TOKEN_HEADERS}
        try:
            answer = requests.get(url, timeout=TIMEOUT_SECONDS, allow_redirects=False, **login | {"headers": own})
            return answer.status_code == 200 and isinstance(answer.json(), list)
        except (OSError, ValueError):  # unreachable, or no JSON: the page of a login
            return False

    @property
    def _login(self) -> dict[str, Any]:
        """What a login before the dashboard asks for, from the environment, as arguments of a request."""
        ray = self.site.ray
        names = [*ray.headers.values(), *ray.cookies.values(), *([ray.verify] if ray.verify else [])]
        if missing := sorted({name for name in names if name not in os.environ}):
            raise JobError(
                f"site {self.site.name!r}: its [ray] table names {', '.join(missing)} for the login of "
                f"{self.address!r}, not set in this environment; set it here, in no file"
            )
        return {
            "headers": {header: os.environ[name] for header, name in ray.headers.items()},
            "cookies": {cookie: os.environ[name] for cookie, name in ray.cookies.items()},
            "verify": os.environ[ray.verify] if ray.verify else True,
        }

    @cached_property
    def _client(self) -> JobSubmissionClient:
        from ray.job_submission import JobSubmissionClient

        logging.getLogger("ray").setLevel(logging.WARNING)  # it would log each folder that it uploads
        login = self._login
        try:
            check_listening(self.address)
            with _without_address_variables(self.address):
                return JobSubmissionClient(self.address, **login)
        except Exception as error:
            raise self._failed("there is no job server", error) from error

    def _details(self, job: str) -> dict[str, Any]:
        client = self._client
        try:
            details = client.get_job_info(job)
        except Exception as error:
            if "does not exist" in str(error):
                return {}
            raise self._failed(f"the state of job {job} is unknown", error) from error
        return {"status": details.status, "message": details.message, "exit_code": details.driver_exit_code}

    @property
    def _python(self) -> str:
        """The interpreter of a job: this one if the cluster sees the same folders, else that of the image."""
        return sys.executable if self.site.code == "local" else "python"

    def _environment(self) -> dict[str, Any]:
        """The job's `runtime_env`; Ray adds the session's variables to it, and refuses any that both set."""
        variables = {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_GRACE_SECONDS)}
        variables |= {name: os.environ[name] for name in SHARED_VARIABLES if name in os.environ}
        if self.site.code == "local":
            variables |= python_path()
        if self.site.code == "wheel":
            return {"env_vars": variables, "py_modules": package_folders(), "excludes": ["__pycache__"]}
        return {"env_vars": variables}

    def _failed(self, what: str, error: Exception) -> JobError:
        message = str(error).strip().partition("\n")[0][:MAX_MESSAGE_CHARACTERS] or type(error).__name__
        if untrusted := _certificate_error(error):
            message = f"its certificate is not trusted: {untrusted}"
            remedy = "give the path of its authority's certificates in a variable, and name that as [ray] verify"
        elif TOKEN_REFUSED in message.lower():
            remedy = "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the token of the cluster"
            what = "the job server refuses requests without its token"
        elif isinstance(error, json.JSONDecodeError) or any(text in message.lower() for text in LOGIN_ASKED):
            what = "a login stands before the job server"
            remedy = "name the variables that hold what it asks for as [ray] headers or cookies"
        else:
            remedy = "check that the cluster and its dashboard are up, and [ray] jobs or address in the site"
        return JobError(f"site {self.site.name!r}: {what} at {self.address!r}: {message}; {remedy}")


def _certificate_error(error: BaseException | None) -> str:
    """The reason of a certificate that could not be verified, from an error or what led to it; '' if there is none."""
    for _ in range(8):
        if error is None:
            return ""
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        inner = (argument for argument in error.args if isinstance(argument, BaseException))
        reason = getattr(error, "reason", None)
        nested = reason if isinstance(reason, BaseException) else next(inner, None)
        error = nested or error.__cause__ or error.__context__
    return ""


@contextmanager
def _without_address_variables(address: str) -> Iterator[None]:
    """Hide `ADDRESS_VARIABLES`, so that the cluster that a site names is the one that is used."""
    hidden = (
        {} if address == "auto" else {name: os.environ.pop(name) for name in ADDRESS_VARIABLES if name in os.environ}
    )
    try:
        yield
    finally:
        os.environ.update(hidden)
