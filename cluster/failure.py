"""The failure of another process as plain values that always pickle: its kind, its message, where and why it happened.

An exception itself may fail to pickle, or to unpickle where its module cannot be imported.
"""

from __future__ import annotations

import socket
import traceback
from dataclasses import dataclass

from stages.contract import InterruptedRunError, MachineFault, StageError, SupersededError, machine_fault

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
    fault: MachineFault | None = None
    """What was wrong with the machine; None where the work itself failed."""
    node: str = ""
    """Id of the Ray node where it happened; empty where that is unknown."""
    host: str = ""
    """Host name of that node."""

    @classmethod
    def of(cls, error: BaseException, where: str, node: str = "") -> Failure:
        """Describe `error`, raised in this process, on this Ray node.

        `where` names the work that failed, such as `step 'pairs': part write/00001`.
        """
        kind, message = StageError, f"{where} failed: {type(error).__name__}: {error}"
        if isinstance(error, StageError):
            kind, message = next(kind for kind in KINDS if isinstance(error, kind)), str(error)
        details = "".join(traceback.format_exception(error))
        return cls(kind, message, details, machine_fault(error), node, socket.gethostname() if node else "")

    def error(self) -> StageError:
        """The error to raise here; its cause shows the traceback of the other process."""
        error = self.kind(self.message)
        error.__cause__ = RemoteTracebackError(self.details)
        return error
