"""Warnings on stderr: those of the store's records, each once, and the log lines that nothing else takes.

Owns the logging handler for records that cannot be read and that a command goes on without.
"""

from __future__ import annotations

import logging

from rich.text import Text

from pipelines.screen.console import clean, open_console, write_text

RECORDS_LOGGER = "stages.store.record_kind"
"""The logger that tells which records are left out."""


class RecordWarnings(logging.Handler):
    """Prints each warning once; `messages` keeps them for a JSON document."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Print a warning of a record. From any thread."""
        self.warn(record.getMessage())

    def warn(self, message: str) -> None:
        """Print a warning that was not printed before."""
        if message not in self.messages:
            self.messages.append(message)
            open_console(stderr=True).print(Text(f"warning: {clean(message)}", style="yellow"), soft_wrap=True)

    @classmethod
    def of_command(cls) -> RecordWarnings:
        """A handler for one command, installed in the place of an earlier one."""
        logger, handler = logging.getLogger(RECORDS_LOGGER), cls()
        for earlier in [one for one in logger.handlers if isinstance(one, RecordWarnings)]:
            logger.removeHandler(earlier)
        logger.addHandler(handler)
        logger.propagate = False
        return handler


class _LastResort(logging.Handler):
    """Writes what no handler takes, as `logging` does, without what a terminal would obey."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line of a log. From any thread."""
        write_text(f"{self.format(record)}\n", stderr=True)


def clean_log_lines() -> None:
    """Clean the log lines of every library that this process writes to stderr."""
    logging.lastResort = _LastResort(logging.WARNING)
