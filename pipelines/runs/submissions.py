"""Runs handed to a cluster: what the command asked for, and how it ended where no attempt came of it.

Owns `runs/<run>/submissions/`. A submission is numbered and created exclusively, so that of two commands at once one
submits and the other attaches. It holds all that the driver needs beside the frozen plan: the site, without any
secret, and the versions that the driver must have too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cluster.site import Site
from cluster.versions import Versions
from pipelines.exits import ExitCode
from pipelines.runs.run import AttemptRecord, Run
from stages.store.fault_points import fault_point
from stages.store.metadata import open_store
from stages.store.numbering import first_missing


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Submission(_Record):
    """A run, handed to a cluster."""

    number: int
    job: str
    """Name of the Ray job that carries it out."""
    site: dict[str, Any]
    versions: Versions
    at_seconds: float = Field(default_factory=time.time)
    allows_rollback: bool = False
    """Whether training may continue from an earlier checkpoint if the newest is damaged. Written if true alone."""

    @property
    def target_site(self) -> Site:
        return Site.model_validate(self.site)


class SubmissionEnd(_Record):
    """How a submission ended of which no attempt came."""

    code: ExitCode
    said: str
    then: str
    """The command that goes on."""
    at_seconds: float = Field(default_factory=time.time)


@dataclass(frozen=True)
class Submissions:
    """The submissions of one run."""

    run: Run

    @property
    def num_submissions(self) -> int:
        return first_missing(lambda index: self.run.store.size_bytes(self._key(index + 1)) is not None)

    def read(self, number: int) -> Submission | None:
        raw = self.run.store.read_json(self._key(number))
        return None if raw is None else Submission.model_validate(raw)

    def last(self) -> Submission | None:
        return self.read(self.num_submissions)

    def begin(self, site: Site, *, allows_rollback: bool = False) -> Submission | None:
        """Take the next number for a submission to `site`. None where another command took it first."""
        number = self.num_submissions + 1
        submission = Submission(
            number=number,
            job=f"{self.run.name}-{number}-{self._store_mark}",
            site=site.model_dump(mode="json"),
            versions=Versions.here(),
            allows_rollback=allows_rollback,
        )
        # Without the flag, the record is as it was before there was one, for drivers of an earlier version.
        unset = set() if allows_rollback else {"allows_rollback"}
        record = submission.model_dump(mode="json", exclude=unset)
        with fault_point("submission.recorded"):
            ours = self.run.store.create_json(self._key(number), record)
        return submission if ours else None

    def attempt_of(self, submission: Submission) -> AttemptRecord | None:
        """The attempt that came of a submission, or None so far."""
        return next((record for record in self.run.attempts() if record.job == submission.job), None)

    def waiting(self) -> Submission | None:
        """The last submission, while neither an attempt nor an end has come of it."""
        last = self.last()
        is_open = last is not None and self.end(last.number) is None and self.attempt_of(last) is None
        return last if is_open else None

    def end(self, number: int) -> SubmissionEnd | None:
        raw = self.run.store.read_json(self._end_key(number))
        return None if raw is None else SubmissionEnd.model_validate(raw)

    def end_without_attempt(self, number: int, code: ExitCode, said: str, then: str) -> None:
        """Say how a submission ended of which no attempt comes."""
        end = SubmissionEnd(code=code, said=said, then=then)
        with fault_point("submission.ended"):
            self.run.store.create_json(self._end_key(number), end.model_dump(mode="json"))

    @property
    def _store_mark(self) -> str:
        """What tells this store's jobs from those of another on the same cluster: equal runs have equal names."""
        return open_store(self.run.store).uuid[:6]

    def _key(self, number: int) -> str:
        return f"{self.run.folder}/submissions/{number}.json"

    def _end_key(self, number: int) -> str:
        return f"{self.run.folder}/submissions/{number}.ended.json"
