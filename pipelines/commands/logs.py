"""`neo logs`: the log of an attempt, the cause of a failure first. Read from the store, not from machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.text import Text

from pipelines.commands.context import CommandContext
from pipelines.commands.options import RunArgument
from pipelines.exits import BadCommandError
from pipelines.runs.log import read_driver_log, read_stacks, read_traceback
from pipelines.runs.refs import find_run
from pipelines.runs.resume import resume_command
from pipelines.runs.run import AttemptEnd, AttemptRecord, Run
from pipelines.screen.console import clean

StepArgument = Annotated[
    str | None, typer.Argument(metavar="[STEP]", help="This step alone, in the last attempt that mentions it.")
]
AttemptOption = Annotated[int | None, typer.Option("--attempt", metavar="N", help="This attempt instead of the last.")]


def logs(ctx: typer.Context, run: RunArgument, step: StepArgument = None, *, attempt: AttemptOption = None) -> None:
    """Show why an attempt failed, and its driver's log.

    Tracebacks come first. All of it is in the store, so it outlives the machines.
    """
    command: CommandContext = ctx.obj
    log = read_log(find_run(command.store_to_read(), run), step, attempt)
    command.say(*log.lines_for_people())
    is_unfinished = log.end is not None and log.end.outcome != "done"
    then = resume_command(log.run) if is_unfinished else f"neo status {log.run.name}"
    command.end(log.document(), then=then)


@dataclass(frozen=True)
class Log:
    """The log of one attempt, as the store has it."""

    run: Run
    record: AttemptRecord
    end: AttemptEnd | None
    tracebacks: dict[str, str]
    """Tracebacks by the step that failed."""
    stacks: dict[str, str]
    """Stacks of ranks that hung, by step and rank."""
    driver: list[str]
    """Lines of the driver."""

    @property
    def outcome(self) -> str:
        """How the attempt ended, or the state of the run if it is open."""
        return self.end.outcome if self.end else self.run.state()

    @property
    def reason(self) -> str:
        """Why the attempt ended; '' if it is open."""
        return self.end.reason if self.end else ""

    def lines_for_people(self) -> Iterator[str | Text]:
        """The log as lines for the console: tracebacks, then stacks, then the driver's lines."""
        ended = ": ".join(filter(None, (self.outcome, self.reason)))
        title = f"{self.run.name}, attempt {self.record.number} on {self.record.host}: {ended}"
        yield Text(clean(title), "bold")
        for name, text in self.tracebacks.items():
            yield from ("", Text(f"{name} failed:", "red"), text.rstrip())
        for name, text in self.stacks.items():
            yield from ("", Text(f"{name} hung:", "red"), text.rstrip())
        yield ""
        yield from self.driver

    def document(self) -> dict[str, Any]:
        """The log as a JSON document."""
        return {
            "run": self.run.name,
            "attempt": self.record.number,
            "outcome": self.outcome,
            "reason": self.reason,
            "tracebacks": self.tracebacks,
            "stacks": self.stacks,
            "lines": self.driver,
        }


def read_log(run: Run, step: str | None, attempt: int | None) -> Log:
    """The log of an attempt, of one step or of all. Raises `BadCommandError` if there is no such step or attempt."""
    record = _choose_attempt(run, step, attempt)
    number = record.number
    steps = [step] if step else [one.name for one in run.request.steps]
    tracebacks = ((name, read_traceback(run, number, name)) for name in steps)
    stacks = [read_stacks(run, number, name) for name in steps]
    return Log(
        run=run,
        record=record,
        end=run.end(number),
        tracebacks={name: text for name, text in tracebacks if text},
        stacks={name: text for ranks in stacks for name, text in ranks.items()},
        driver=[line for line in read_driver_log(run, number) if step is None or _is_about(line, step)],
    )


def _choose_attempt(run: Run, step: str | None, number: int | None) -> AttemptRecord:
    """The attempt that was asked for, or the last that mentions the step."""
    attempts = list(run.attempts())
    if step is not None and step not in (names := [one.name for one in run.request.steps]):
        raise BadCommandError(f"run {run.name} has no step {step!r}; it has {', '.join(names)}", then="neo list")
    if number is not None and not 1 <= number <= len(attempts):
        raise BadCommandError(
            f"run {run.name} has {len(attempts)} attempts, none is number {number}", then=f"neo logs {run.name}"
        )
    if not attempts:
        raise BadCommandError(f"run {run.name} was never begun, it has no log", then=f"neo resume {run.name}")
    if number is not None:
        return attempts[number - 1]
    mentions = (record for record in reversed(attempts) if step is None or _mentions(run, record.number, step))
    return next(mentions, attempts[-1])


def _mentions(run: Run, attempt: int, step: str) -> bool:
    return read_traceback(run, attempt, step) is not None or any(
        _is_about(line, step) for line in read_driver_log(run, attempt)
    )


def _is_about(line: str, step: str) -> bool:
    """Whether a line of the driver is about a step: a time, the step, and what it does, two spaces between them.

    >>> _is_about("12:00:07  pairs  running  0:00", "pairs")
    True
    """
    return line.split("  ")[1:2] == [step]
