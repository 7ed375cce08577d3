"""The Ray job of a submission, watched until its driver begins: whether it is still there to begin.

A cluster keeps its jobs in its head. A head that is started again has forgotten them, and a submission would wait for a
job that is nowhere. Once the driver has begun, its heartbeat in the store says the same.
"""

from __future__ import annotations

import time

from cluster.jobs import JobError, Jobs
from cluster.site import Site
from pipelines.exits import CommandError, ExitCode
from pipelines.runs.run import Run
from pipelines.runs.submissions import Submission, SubmissionEnd, Submissions


class JobLostError(CommandError):
    """The cluster lost the job of a submission before its driver began; nothing was begun."""

    code = ExitCode.STEP_FAILED


class PendingJob:
    """The job of a submission that no attempt was begun for, so far."""

    def __init__(self, run: Run, submission: Submission, site: Site, patience_seconds: float = 0.0) -> None:
        """`patience_seconds`: how long the cluster may not answer, as while its head is started again."""
        self.submission = submission
        self._run, self._submissions = run, Submissions(run)
        self._site, self._jobs = site, Jobs(site)
        self._patience_seconds = patience_seconds
        self._silent_since_seconds: float | None = None

    @property
    def is_pending(self) -> bool:
        """Whether the driver has neither begun nor ended."""
        return self._submissions.waiting() == self.submission

    def end(self) -> SubmissionEnd | None:
        """How the submission ended, if its driver did not begin."""
        return self._submissions.end(self.submission.number)

    def look(self) -> None:
        """Ask the cluster for the job; record the end of the submission where the driver ended before it began.

        Raises `JobLostError` where the job was lost, or the cluster has not answered for `patience_seconds`; without
        patience, `JobError` for the first request that is not answered.
        """
        job = self.submission.job
        try:
            state = self._jobs.state(job)
            words, code = (self._jobs.last_lines(job), self._jobs.exit_code(job)) if state == "ended" else ("", None)
        except JobError as error:
            self._bear_with(error)
            return
        self._silent_since_seconds = None
        if state not in ("ended", "absent") or not self.is_pending:
            return
        if state == "absent":
            raise self._lost("the cluster does not know it any more, as after a start of its head")
        if code is None:
            raise self._lost(words)
        message = f"Ray job {job} ended before it began: {words}"
        again = f"neo submit {self._run.name}"
        self._submissions.end_without_attempt(self.submission.number, ExitCode.REFUSED, message, again)

    def _bear_with(self, error: JobError) -> None:
        if not self._patience_seconds:
            raise error
        now_seconds = time.monotonic()
        if self._silent_since_seconds is None:
            self._silent_since_seconds = now_seconds
        self._jobs = Jobs(self._site)
        if now_seconds - self._silent_since_seconds >= self._patience_seconds:
            raise self._lost(f"the cluster has not answered for {self._patience_seconds:.0f} s: {error}") from error

    def _lost(self, why: str) -> JobLostError:
        message = f"Ray job {self.submission.job} was lost before it began: {why}"
        return JobLostError(message, then=f"neo submit {self._run.name}")
