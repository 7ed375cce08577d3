"""How a command ends: the exit codes that scripts rely on, and the errors that carry them.

An error's message says what happened; `then` is the command to type next, printed as the last line.
"""

from __future__ import annotations

import enum

MENDED = "   (once that is fixed)"
"""Behind a next command that fails in the same way until something is mended."""


class ExitCode(enum.IntEnum):
    """Exit codes of `neo`. Scripts rely on the numbers, which therefore never change."""

    DONE = 0
    """Done, or nothing to do."""
    STEP_FAILED = 1
    """A stage failed, an audit found damage, or a cancelled run did not stop; what was committed stays, running again
    continues."""
    BAD_COMMAND = 2
    """The command, the pipeline or a reference does not exist or is malformed."""
    REFUSED = 3
    """Refused before anything started: store, site or inputs cannot be used."""
    RESUME_REFUSED = 4
    """Resume refused: it would mix two versions of the code, or two attempts."""
    SUPERSEDED = 5
    """Another attempt of the run, or another run, took over what this command was making."""
    INTERRUPTED = 75
    """Stopped on request after a commit; running again continues."""


class CommandError(Exception):
    """Ends a command with an exit code, a message, and `then`, the command to type next."""

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
