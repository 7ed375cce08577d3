"""How a command ends: the exit codes that scripts rely on, and the errors that carry them.

An error's message says what happened; `then` is the command to type next, printed as the last line.
"""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """Promised to scripts; changing a number breaks somebody's night."""

    DONE = 0
    """Done, or nothing to do."""
    STEP_FAILED = 1
    """A stage failed or an audit found damage; what was committed stays, running again continues."""
    BAD_COMMAND = 2
    """The command, the pipeline or a reference does not exist or is malformed."""
    REFUSED = 3
    """Refused before anything started: store, site or inputs cannot be used."""
    RESUME_REFUSED = 4
    """Resume refused: it would mix two versions of the code, or two attempts."""
    SUPERSEDED = 5
    """Another attempt made this meanwhile."""
    INTERRUPTED = 75
    """Stopped on request after a commit; running again continues."""


class CommandError(Exception):
    """Ends a command with a code, a message and what to do next."""

    code = ExitCode.BAD_COMMAND

    def __init__(self, message: str, then: str) -> None:
        super().__init__(message)
        self.then = then


class BadCommandError(CommandError):
    """The command, the pipeline or a reference does not exist or is malformed."""


class RefusedError(CommandError):
    """Refused before anything started."""

    code = ExitCode.REFUSED


class ResumeRefusedError(CommandError):
    """Resuming would mix two versions of the code, or two attempts."""

    code = ExitCode.RESUME_REFUSED
