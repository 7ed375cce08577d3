"""What went wrong in another process, in a form that always travels and keeps its kind.

An exception may not pickle, or not unpickle where its module is unknown. Its kind, message and traceback as text do.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from stages.contract import InterruptedRunError, StageError, SupersededError

KINDS: tuple[type[StageError], ...] = (InterruptedRunError, SupersededError, StageError)
"""What a failure is raised again as, the most particular first."""


class RemoteTracebackError(Exception):
    """The traceback of another process, shown as the cause of the error that came of it."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(frozen=True)
class Failure:
    """An exception of another process."""

    kind: type[StageError]
    message: str
    """What the stage itself said; of any other exception where it happened, its name and its text."""
    details: str
    """The traceback there."""

    @classmethod
    def of(cls, error: BaseException, where: str) -> Failure:
        """Describe `error`, met in `where` (`step 'pairs': part write/00001`)."""
        details = "".join(traceback.format_exception(error))
        if isinstance(error, StageError):
            return cls(next(kind for kind in KINDS if isinstance(error, kind)), str(error), details)
        return cls(StageError, f"{where} failed: {type(error).__name__}: {error}", details)

    def error(self) -> StageError:
        """The error to raise here; its cause shows the traceback of the other process."""
        error = self.kind(self.message)
        error.__cause__ = RemoteTracebackError(self.details)
        return error
