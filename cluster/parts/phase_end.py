"""How a phase ends: with all parts made, with parts that failed, or early: by a stop, or as it is impossible."""

from __future__ import annotations

from dataclasses import dataclass, field

from cluster.failure import Failure
from cluster.site import PartResources
from stages.contract import InterruptedRunError, StageError


@dataclass
class PhaseEnd:
    """What speaks against the end of one phase that all hope for."""

    step: str
    phase: str
    resources: PartResources
    num_parts: int
    """Parts that were to be made."""
    failures: list[Failure] = field(default_factory=list)
    """Failures of parts that are not tried again, the oldest first."""
    ended_by: Failure | None = None
    """What ended the phase, if not the failure of parts."""

    @property
    def num_allowed_to_fail(self) -> int:
        """Parts that may fail while the others are still made."""
        return int(self.resources.max_failed_parts * self.num_parts)

    @property
    def is_one_too_many(self) -> bool:
        """Whether more parts failed than that."""
        return len(self.failures) > self.num_allowed_to_fail

    def raise_unless_all_made(self, num_made: int) -> None:
        """Raise what ended the phase, the failure of parts, or `InterruptedRunError` where parts are left."""
        if self.ended_by is not None:
            raise self.ended_by.error()
        if self.failures:
            raise self._failed(num_made)
        if num_made < self.num_parts:
            raise InterruptedRunError(
                f"step {self.step!r}: stopped with {self.num_parts - num_made} of {self.num_parts} parts of phase "
                f"{self.phase!r} to go; those made are kept"
            )

    def _failed(self, num_made: int) -> StageError:
        first = self.failures[0].error()
        if not self.num_allowed_to_fail:
            return first
        error = StageError(
            f"step {self.step!r}: {len(self.failures)} of {self.num_parts} parts of phase {self.phase!r} failed, "
            f"max_failed_parts allows {self.num_allowed_to_fail}; {num_made} were made and are kept, and the next run "
            f"makes the {self.num_parts - num_made} that are left. The first: {first}"
        )
        error.__cause__ = first.__cause__
        return error
