"""`neo logs`: what an attempt of a run said, the cause of a failure first. Read from the store, not from machines."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from pipelines.commands.context import CommandContext
from pipelines.commands.options import RunArgument
from pipelines.exits import BadCommandError
from pipelines.runs.log import read_driver_log, read_stacks, read_traceback
from pipelines.runs.refs import find_run
from pipelines.runs.resume import resume_command
from pipelines.runs.run import AttemptRecord, Run
from pipelines.screen.console import clean

StepArgument = Annotated[
    str | None, typer.Argument(metavar="[STEP]", help="This step alone, in the last attempt that says anything of it.")
]
AttemptOption = Annotated[int | None, typer.Option("--attempt", metavar="N", help="This attempt instead of the last.")]


def logs(
    ctx: typer.Context,
    run: RunArgument,
    step: StepArgument = None,
    *,
    attempt: AttemptOption = None,
) -> None:
    """Say why an attempt failed, and what its driver said.

    Tracebacks come first. All of it is in the store, so it outlives the machines.
    """
    command: CommandContext = ctx.obj
    store = command.store_to_read()
    found = find_run(store, run)
    record = _attempt(found, step, attempt)
    steps = [step] if step else [one.name for one in found.request.steps]
    end = found.end(record.number)
    tracebacks = {name: text for name in steps if (text := read_traceback(found, record.number, name))}
    stacks = {name: text for step_name in steps for name, text in read_stacks(found, record.number, step_name).items()}
    lines = [line for line in read_driver_log(found, record.number) if step is None or _is_about(line, step)]
    ended = f"{end.outcome}{f': {end.reason}' if end.reason else ''}" if end else found.state()
    command.say(Text(clean(f"{found.name}, attempt {record.number} on {record.host}: {ended}"), "bold"))
    for name, text in tracebacks.items():
        command.say("", Text(f"{name} failed:", "red"), text.rstrip())
    for name, text in stacks.items():
        command.say("", Text(f"{name} hung:", "red"), text.rstrip())
    command.say("", *lines)
    document = {
        "run": found.name,
        "attempt": record.number,
        "outcome": end.outcome if end else found.state(),
        "reason": end.reason if end else "",
        "tracebacks": tracebacks,
        "stacks": stacks,
        "lines": lines,
    }
    then = resume_command(found) if end and end.outcome != "done" else f"neo status {found.name}"
    command.end(document, then=then)


def _attempt(run: Run, step: str | None, number: int | None) -> AttemptRecord:
    """The attempt that was asked for, or the last that has something to say."""
    attempts = list(run.attempts())
    if step is not None and step not in (names := [one.name for one in run.request.steps]):
        raise BadCommandError(f"run {run.name} has no step {step!r}; it has {', '.join(names)}", then="neo list")
    if number is not None and not 1 <= number <= len(attempts):
        raise BadCommandError(
            f"run {run.name} has {len(attempts)} attempts, none is number {number}", then=f"neo logs {run.name}"
        )
    if not attempts:
        raise BadCommandError(f"run {run.name} was never begun, so it has said nothing", then=f"neo resume {run.name}")
    if number is not None:
        return attempts[number - 1]
    said = (record for record in reversed(attempts) if step is None or _speaks_of(run, record.number, step))
    return next(said, attempts[-1])


def _speaks_of(run: Run, attempt: int, step: str) -> bool:
    return read_traceback(run, attempt, step) is not None or any(
        _is_about(line, step) for line in read_driver_log(run, attempt)
    )


def _is_about(line: str, step: str) -> bool:
    """Lines are a time, a step and what it does, two spaces between them."""
    return line.split("  ")[1:2] == [step]
