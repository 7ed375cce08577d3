"""A record that a command goes on without is told once, on stderr."""

import logging

import pytest

from pipelines.screen.warnings import RECORDS_LOGGER, RecordWarnings


def test_each_warning_is_printed_once_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    warnings = RecordWarnings.of_command()
    for _ in range(3):
        logging.getLogger(RECORDS_LOGGER).warning("left out: %s", "runs/a\x1b[31m")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == ["warning: left out: runs/a\N{REPLACEMENT CHARACTER}[31m"]
    assert warnings.messages == ["left out: runs/a\x1b[31m"]


def test_the_handler_of_the_next_command_takes_the_place_of_the_last() -> None:
    first, second = RecordWarnings.of_command(), RecordWarnings.of_command()
    logging.getLogger(RECORDS_LOGGER).warning("left out")
    assert (first.messages, second.messages) == ([], ["left out"])
