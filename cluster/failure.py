"""What went wrong in another process, in a form that always travels and keeps its kind.

An exception may not pickle, or not unpickle where its module is unknown. Its kind, message and traceback as text do.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from stages.contract import InterruptedRunError, StageError, SupersededError

KINDS: tuple[type[StageError], ...] = (InterruptedRunError, SupersededError, StageError)
"""From the most particular: what a failure is raised again as."""


class RemoteTraceback(Exception):
    """The traceback of another process, shown as the cause of the error that came of it."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(frozen=True)
class Failure:
    """An exception of another process."""

    kind: int
    """Index into `KINDS`."""
    message: str
    """What the stage itself said, or where, the exception's name and its text."""
    details: str
    """The traceback there."""

    @classmethod
    def of(cls, error: BaseException, where: str) -> Failure:
        """Describe `error`, met in `where` (`step 'pairs': part write/00001`)."""
        details = "".join(traceback.format_exception(error))
        if isinstance(error, StageError):
            kind = next(index for index, known in enumerate(KINDS) if isinstance(error, known))
            return cls(kind, str(error), details)
        return cls(KINDS.index(StageError), f"{where} failed: {type(error).__name__}: {error}", details)

    def error(self) -> StageError:
        """The error to raise here; its cause shows the traceback of the other process."""
        error = KINDS[self.kind](self.message)
        error.__cause__ = RemoteTraceback(self.details)
        return error
