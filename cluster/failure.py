"""The failure of another process as plain values that always pickle: its kind, its message, its traceback as text.

An exception itself may fail to pickle, or to unpickle where its module cannot be imported.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from stages.contract import InterruptedRunError, StageError, SupersededError

KINDS: tuple[type[StageError], ...] = (InterruptedRunError, SupersededError, StageError)
"""Classes that a failure is raised as, the most specific first."""


class RemoteTracebackError(Exception):
    """Cause of an error that was raised in another process; its text is the traceback there."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(frozen=True)
class Failure:
    """An exception of another process."""

    kind: type[StageError]
    message: str
    """Message of a `StageError` as it was; for any other exception where it happened, its class and its message."""
    details: str
    """Traceback in the other process, as text."""

    @classmethod
    def of(cls, error: BaseException, where: str) -> Failure:
        """Describe `error`. `where` names the work that failed, such as `step 'pairs': part write/00001`."""
        details = "".join(traceback.format_exception(error))
        if isinstance(error, StageError):
            return cls(next(kind for kind in KINDS if isinstance(error, kind)), str(error), details)
        return cls(StageError, f"{where} failed: {type(error).__name__}: {error}", details)

    def error(self) -> StageError:
        """The error to raise here; its cause shows the traceback of the other process."""
        error = self.kind(self.message)
        error.__cause__ = RemoteTracebackError(self.details)
        return error
