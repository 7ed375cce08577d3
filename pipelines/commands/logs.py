"""`neo logs`: the log of an attempt, the cause of a failure first. Read from the store, not from machines.

Reads no more than it shows: the last lines of the driver, and of thousands of parts that printed something the names of
some.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.text import Text

from pipelines.commands.context import CommandContext
from pipelines.commands.options import RunArgument
from pipelines.exits import BadCommandError
from pipelines.running.signals import deferred_ctrl_c
from pipelines.runs.log import (
    kept_output,
    last_lines,
    read_driver_log,
    read_output,
    read_stacks,
    read_tracebacks,
    steps_with_output,
)
from pipelines.runs.refs import find_run
from pipelines.runs.resume import resume_command
from pipelines.runs.run import AttemptEnd, AttemptRecord, Run
from pipelines.screen.console import clean
from stages.commit.heartbeat import Observer

NUM_LINES = 200
"""Lines of the driver that are shown where no other number is asked for."""
NUM_OUTPUTS_SHOWN = 10
"""Outputs of one step that are shown in full; of more, the names are shown."""
SECONDS_BETWEEN_LOOKS = 1.0

StepArgument = Annotated[
    str | None, typer.Argument(metavar="[STEP]", help="This step alone, in the last attempt that mentions it.")
]
AttemptOption = Annotated[int | None, typer.Option("--attempt", metavar="N", help="This attempt instead of the last.")]
TailOption = Annotated[int, typer.Option("--tail", metavar="N", min=0, help="Show the last N lines of the driver.")]
AllOption = Annotated[bool, typer.Option("--all", help="Show all lines of the driver.")]
FollowOption = Annotated[
    bool, typer.Option("--follow", help="Stay and show new lines, until the attempt ends or Ctrl-C.")
]
OfOption = Annotated[
    str,
    typer.Option(
        "--of", metavar="WORK", help="What this part (write/00003), rank (rank0) or body (step) of STEP printed."
    ),
]


def logs(
    ctx: typer.Context,
    run: RunArgument,
    step: StepArgument = None,
    *,
    attempt: AttemptOption = None,
    tail: TailOption = NUM_LINES,
    all_: AllOption = False,
    follow: FollowOption = False,
    of: OfOption = "",
) -> None:
    """Show why an attempt failed, and what was printed.

    Tracebacks come first. All of it is in the store, so it outlives the machines.
    """
    command: CommandContext = ctx.obj
    if of and step is None:
        raise BadCommandError("--of needs a step: neo logs RUN STEP --of WORK", then=f"neo logs {run}")
    if follow and command.as_json:
        raise BadCommandError("--follow shows lines as they come; --json shows one document", then=f"neo logs {run}")
    choice = Choice(find_run(command.store_to_read(), run), step, of, None if all_ else tail)
    log = choice.read(attempt)
    command.say(*log.lines_for_people())
    if follow:
        log = _follow(choice, log, command)
    is_unfinished = log.end is not None and log.end.outcome != "done"
    then = resume_command(log.run) if is_unfinished else f"neo status {log.run.name}"
    command.end(log.document(), then=then)


@dataclass(frozen=True)
class Log:
    """The log of one attempt, as the store has it."""

    run: Run
    record: AttemptRecord
    end: AttemptEnd | None
    state: str
    """State of the run."""
    tracebacks: dict[str, str]
    """Tracebacks by the step that failed."""
    stacks: dict[str, str]
    """Stacks of ranks that hung, by step and rank."""
    driver: list[str]
    """Lines of the driver, the newest alone if `is_cut`."""
    is_cut: bool
    """Whether earlier lines of the driver are left out."""
    num_chunks: int
    """Number of chunks of the driver's lines that there were."""
    output: dict[str, str]
    """What the step's body, parts and ranks printed, by name, such as `fetch/00003.0`."""
    other_output: list[str]
    """Names of output that is not shown: of steps, or of the one step's parts."""

    @property
    def outcome(self) -> str:
        """How the attempt ended, or the state of the run if it is open."""
        return self.end.outcome if self.end else self.state

    @property
    def reason(self) -> str:
        """Why the attempt ended; '' if it is open."""
        return self.end.reason if self.end else ""

    def lines_for_people(self) -> Iterator[str | Text]:
        """The log as lines for the console: tracebacks, then stacks, output, and the driver's lines."""
        ended = ": ".join(filter(None, (self.outcome, self.reason)))
        title = f"{self.run.name}, attempt {self.record.number} on {self.record.host}: {ended}"
        yield Text(clean(title), "bold")
        yield from self.causes()
        for name, text in self.output.items():
            yield from ("", Text(f"{name} printed:", "bold"), text.rstrip())
        yield ""
        if self.is_cut:
            yield f"[earlier lines are left out: neo logs {self.run.name} --all shows them]"
        yield from self.driver
        if self.other_output:
            names = ", ".join(self.other_output[:NUM_OUTPUTS_SHOWN])
            more = " and others" if len(self.other_output) > NUM_OUTPUTS_SHOWN else ""
            yield ""
            yield f"[there is output of {names}{more}: neo logs {self.run.name} STEP, with --of WORK for one of many]"

    def causes(self) -> Iterator[str | Text]:
        """Tracebacks, then stacks, as lines for the console."""
        for name, text in self.tracebacks.items():
            yield from ("", Text(f"{name} failed:", "red"), text.rstrip())
        for name, text in self.stacks.items():
            yield from ("", Text(f"{name} hung:", "red"), text.rstrip())

    def document(self) -> dict[str, Any]:
        """The log as a JSON document."""
        return {
            "run": self.run.name,
            "attempt": self.record.number,
            "outcome": self.outcome,
            "reason": self.reason,
            "tracebacks": self.tracebacks,
            "stacks": self.stacks,
            "output": self.output,
            "other_output": self.other_output,
            "lines": self.driver,
            "is_cut": self.is_cut,
        }


@dataclass(frozen=True)
class Choice:
    """What of a run's log was asked for."""

    run: Run
    step: str | None
    """One step, or None for all."""
    work: str
    """One part, rank or body of the step; '' for all."""
    most: int | None
    """Lines of the driver at most; None for all."""

    def read(self, attempt: int | None) -> Log:
        """The log of this attempt, or of the last one that fits. Raises `BadCommandError` if there is none."""
        run, record = self.run, self._attempt(attempt)
        number, steps = record.number, self._steps
        lines, num_chunks, is_cut = last_lines(run, number, self.most, self.is_wanted)
        output, other_output = self._output(number)
        return Log(
            run=run,
            record=record,
            end=run.end(number),
            state=run.state(),
            tracebacks=read_tracebacks(run, number, steps),
            stacks=read_stacks(run, number, steps),
            driver=lines,
            is_cut=is_cut,
            num_chunks=num_chunks,
            output=output,
            other_output=other_output,
        )

    def is_wanted(self, line: str) -> bool:
        """Whether a line of the driver is to be shown."""
        return self.step is None or _is_about(line, self.step)

    @property
    def _steps(self) -> list[str]:
        return [self.step] if self.step else [one.name for one in self.run.request.steps]

    def _output(self, attempt: int) -> tuple[dict[str, str], list[str]]:
        """What was printed, and the names of what is left out. Without a step, the steps that printed anything."""
        if self.step is None:
            return {}, steps_with_output(self.run, attempt)
        names = kept_output(self.run, attempt, self.step, self.work)
        if self.work and not names:
            raise BadCommandError(
                f"attempt {attempt} of run {self.run.name} keeps no output of {self.work!r} in step {self.step!r}",
                then=f"neo logs {self.run.name} {self.step}",
            )
        shown = names if self.work else names[:NUM_OUTPUTS_SHOWN]
        return read_output(self.run, attempt, self.step, shown), names[len(shown) :]

    def _attempt(self, number: int | None) -> AttemptRecord:
        """The attempt that was asked for, or the last that mentions the step."""
        run, attempts = self.run, self.run.attempts()
        if self.step is not None and self.step not in (names := [one.name for one in run.request.steps]):
            raise BadCommandError(f"run {run.name} has no step {self.step!r}; it has {', '.join(names)}", "neo list")
        if number is not None and number not in (known := [record.number for record in attempts]):
            raise BadCommandError(
                f"run {run.name} has {len(known)} attempts, none is number {number}", then=f"neo logs {run.name}"
            )
        if not attempts:
            raise BadCommandError(f"run {run.name} was never begun, it has no log", then=f"neo resume {run.name}")
        if number is not None:
            return next(record for record in attempts if record.number == number)
        return next((record for record in reversed(attempts) if self._mentions(record)), attempts[-1])

    def _mentions(self, record: AttemptRecord) -> bool:
        """Whether the log of an attempt has anything about the step. One that reused it has nothing."""
        if self.step is None:
            return True
        if any(one.step == self.step and one.action == "reuse" for one in record.decisions):
            return False
        run, number = self.run, record.number
        return bool(read_tracebacks(run, number, [self.step]) or last_lines(run, number, 1, self.is_wanted)[0])


def _follow(choice: Choice, log: Log, command: CommandContext) -> Log:
    """Show the lines that come after those of `log`, until its attempt has ended; returns the log as it is then."""
    attempt, next_chunk, observer = log.record.number, log.num_chunks, Observer(choice.run.store)
    with deferred_ctrl_c() as ctrl_c:
        while not ctrl_c.pressed:
            # Looked at before the lines, so that all lines before the end are shown.
            is_open = any(
                one.record.number == attempt and one.life != "dead" for one in choice.run.standing(observer).open
            )
            for lines in read_driver_log(choice.run, attempt, next_chunk):
                command.say(*filter(choice.is_wanted, lines))
                next_chunk += 1
            if not is_open:
                log = choice.read(attempt)
                command.say(*log.causes())
                return log
            time.sleep(SECONDS_BETWEEN_LOOKS)
    command.say("Not following any more; the run goes on.")
    return log


def _is_about(line: str, step: str) -> bool:
    """Whether a line of the driver is about a step: a time, the step, and what it does, two spaces between them.

    >>> _is_about("12:00:07  pairs  running  0:00", "pairs")
    True
    """
    return line.split("  ")[1:2] == [step]
