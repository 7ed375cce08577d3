"""Starts the driver of a submitted run again, in its own Ray job, when it died or was stopped from outside.

Owns which ends are worth a retry. The run resumes from what is committed; the new driver is the run's next attempt.
What takes the whole job away, such as the loss of its machine or of the cluster's head, is for the command that waits.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Sequence
from types import FrameType

from pipelines.exits import ExitCode
from pipelines.runs.resume import wait_for_known_state
from pipelines.runs.run import Run
from pipelines.screen.console import write_text

SECONDS_BEFORE_RETRY = 5.0
"""Pause before a driver is started again, so that whatever ended it may pass."""
FIRST_SIGNAL_CODE = 128
"""Exit codes from here on are those of a shell whose program was ended by a signal."""


def is_worth_retry(run: Run, code: int) -> bool:
    """Whether a driver that ended with this exit code, negative for a signal, may get further if it is started again.

    It may if it died, or was interrupted by anything but `neo cancel`. A step that failed was retried while it ran, and
    what was refused would be refused again.
    """
    is_lost = code < 0 or code >= FIRST_SIGNAL_CODE
    return (is_lost or code == ExitCode.INTERRUPTED) and not is_cancelled(run)


def is_cancelled(run: Run) -> bool:
    """Whether `neo cancel` has asked the last attempt to stop."""
    return run.num_attempts > 0 and run.is_stop_requested(run.num_attempts)


def drive_again(command: Sequence[str], run: Run, retries: int) -> int:
    """Run `command`, a driver, and run it again at most `retries` times; returns its last exit code.

    A SIGTERM to this process is sent on to the driver, and then no other is started.
    """
    stopped = is_told = False
    driver: subprocess.Popen[bytes] | None = None

    def tell() -> None:
        nonlocal is_told
        if not is_told and driver is not None and driver.poll() is None:
            is_told = True  # once: a second one would stop the driver before its next commit
            driver.send_signal(signal.SIGTERM)

    def hand_on(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        tell()

    signal.signal(signal.SIGTERM, hand_on)
    for tried in range(retries + 1):
        driver = subprocess.Popen(command)
        if stopped:  # asked while the driver was being started, when there was nobody to tell yet
            tell()
        code = driver.wait()
        if stopped or tried == retries or not is_worth_retry(run, code):
            break
        _say(f"the driver {ended_in_words(code)}; retry {tried + 1} of {retries} begins in {SECONDS_BEFORE_RETRY:g} s")
        time.sleep(SECONDS_BEFORE_RETRY)
        wait_for_known_state(run, _say)
        if stopped or is_cancelled(run):
            break
    return code if code >= 0 else FIRST_SIGNAL_CODE - code


def ended_in_words(code: int) -> str:
    """How a driver with this exit code ended: `was ended by SIGKILL`."""
    number = -code if code < 0 else code - FIRST_SIGNAL_CODE
    if number > 0 and number in set(signal.Signals):
        return f"was ended by {signal.Signals(number).name}"
    return f"ended with exit code {code}"


def _say(line: object) -> None:
    write_text(f"neo: {line}\n", stderr=True)
