"""Submissions: runs handed to a cluster, and the end of a submission that no attempt was begun for.

Owns `runs/<run>/submissions/`. Submissions are numbered and created exclusively: of two commands at once, one submits
and the other attaches. A submission holds what the driver needs beside the frozen plan: the site, without secrets, and
the versions that the driver must have.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cluster.machines.origin import Origin
from cluster.site import Site
from cluster.versions import Versions
from pipelines.exits import ExitCode
from pipelines.runs.run import AttemptRecord, Run, origin_here
from stages.store.fault_points import fault_point
from stages.store.metadata import open_store
from stages.store.numbering import first_missing
from stages.store.record_kind import RecordKind


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Submission(_Record):
    """A run handed to a cluster, written before the Ray job is started."""

    number: int
    """Number of the submission within its run, from 1."""
    job: str
    """Name of the Ray job that executes the run, such as `tiny-3f2a9c01-1-b7d2e4`."""
    site: dict[str, Any]
    """The site that was submitted to, as JSON; secrets are not among its fields."""
    versions: Versions
    """Versions of Python and packages on the machine that submitted; the driver must have the same."""
    at_seconds: float = Field(default_factory=time.time)
    allows_rollback: bool = False
    """Whether training may continue from an earlier checkpoint if the newest is damaged. Written only if true."""
    retries: int = 0
    """How often a driver that died or was stopped from outside is started again. Written only if there are any."""

    @property
    def target_site(self) -> Site:
        """The site that was submitted to."""
        return Site.model_validate(self.site)


class SubmissionEnd(_Record):
    """The end of a submission that no attempt was begun for: refused, called off, or with nothing to make."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    code: ExitCode
    """The exit code of the command that waits for the submission."""
    message: str = Field(validation_alias="said", serialization_alias="said")
    """Why no attempt was begun, in a sentence. The field's name in the store is `said`."""
    then: str
    """The command to type next."""
    at_seconds: float = Field(default_factory=time.time)


SUBMISSION = RecordKind[Submission](
    Submission, "a submission of a run", "put it back from a copy, or submit the run again"
)
ORIGIN = RecordKind[Origin](Origin, "who submitted a run", "put it back from a copy; only pages of MLflow show it")
"""Kept beside the submission and not in it: drivers of an earlier version refuse fields that they do not know."""
SUBMISSION_END = RecordKind[SubmissionEnd](
    SubmissionEnd, "the end of a submission", "put it back from a copy, or submit the run again"
)


@dataclass(frozen=True)
class Submissions:
    """The submissions of one run."""

    run: Run

    @property
    def num_submissions(self) -> int:
        """How many submissions the run has; they are numbered from 1 without a gap."""
        return first_missing(lambda index: self.run.store.size_bytes(self._key(index + 1)) is not None)

    def read(self, number: int) -> Submission | None:
        """The submission of this number, or None."""
        return SUBMISSION.read(self.run.store, self._key(number))

    def last(self) -> Submission | None:
        """The newest submission, or None if the run was never submitted, or its record cannot be read."""
        return SUBMISSION.read_or_skip(self.run.store, self._key(self.num_submissions))

    def begin(self, site: Site, *, allows_rollback: bool = False, retries: int = 0) -> Submission | None:
        """Record the next submission, to `site`. None if another command recorded one first."""
        number = self.num_submissions + 1
        submission = Submission(
            number=number,
            job=f"{self.run.name}-{number}-{self._store_mark}",
            # Only what the site states: a default written down would override the tables that it only completes.
            site=site.model_dump(mode="json", exclude_unset=True),
            versions=Versions.here(),
            allows_rollback=allows_rollback,
            retries=retries,
        )
        # Drivers of an earlier version refuse fields that they do not know, so these are written only if they are set.
        unset = {name for name, value in (("allows_rollback", allows_rollback), ("retries", retries)) if not value}
        record = submission.model_dump(mode="json", exclude=unset)
        origin = origin_here(self.run.request)  # before: git may be slow, and a driver may look for it at once
        with fault_point("submission.recorded"):
            ours = self.run.store.create_json(self._key(number), record)
            if ours:
                self.run.store.create_json(self._origin_key(number), origin.model_dump(mode="json"))
        return submission if ours else None

    def origin_of(self, job: str) -> Origin | None:
        """Who submitted the run as this Ray job; None where that is not known."""
        number = job.removeprefix(f"{self.run.name}-").partition("-")[0]
        return ORIGIN.read_or_skip(self.run.store, self._origin_key(int(number))) if number.isdecimal() else None

    def attempt_of(self, submission: Submission) -> AttemptRecord | None:
        """The attempt that was begun for a submission, or None so far."""
        return next((record for record in self.run.attempts() if record.job == submission.job), None)

    def waiting(self) -> Submission | None:
        """The newest submission if it is pending: no attempt was begun for it, and no end is recorded."""
        last = self.last()
        is_open = last is not None and self.end(last.number) is None and self.attempt_of(last) is None
        return last if is_open else None

    def end(self, number: int) -> SubmissionEnd | None:
        """The end of a submission that no attempt was begun for, or None."""
        return SUBMISSION_END.read_or_skip(self.run.store, self._end_key(number))

    def end_without_attempt(self, number: int, code: ExitCode, message: str, then: str) -> None:
        """Record the end of a submission that no attempt will be begun for. An end recorded earlier stays."""
        end = SubmissionEnd(code=code, message=message, then=then)
        with fault_point("submission.ended"):
            self.run.store.create_json(self._end_key(number), end.model_dump(mode="json"))

    @property
    def _store_mark(self) -> str:
        """Six digits of the store's uuid: runs of two stores may have the same name, their Ray jobs may not."""
        return open_store(self.run.store).uuid[:6]

    def _key(self, number: int) -> str:
        return f"{self.run.folder}/submissions/{number}.json"

    def _origin_key(self, number: int) -> str:
        return f"{self.run.folder}/submissions/{number}.origin.json"

    def _end_key(self, number: int) -> str:
        return f"{self.run.folder}/submissions/{number}.ended.json"


def asked_by(run: Run, attempt: AttemptRecord) -> Origin | None:
    """Who asked for an attempt, with which code: of a submitted one who submitted it, not the driver."""
    submitted_by = Submissions(run).origin_of(attempt.job) if attempt.job else None
    return submitted_by or attempt.origin
