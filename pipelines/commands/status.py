"""`neo status`: progress, rate, time left and last commit of each step, read from the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from pipelines.commands.context import CommandContext
from pipelines.commands.options import OptionalRunArgument
from pipelines.exits import BadCommandError
from pipelines.planning.request import Request
from pipelines.running.signals import deferred_ctrl_c
from pipelines.running.summary import look_closer
from pipelines.runs.attempts import end_dead_attempts
from pipelines.runs.refs import find_run
from pipelines.runs.resume import command_after, newest_run
from pipelines.runs.status import RunStatus
from pipelines.screen.console import STYLES, clean
from pipelines.screen.plain_lines import PlainLines
from pipelines.screen.progress import StepState, balance, clock_time, progress
from pipelines.screen.text_table import TextTable, number, sentence
from pipelines.takedowns.records import recorded_since
from stages.store.store import Store

SECONDS_BETWEEN_LOOKS = 1.0
WatchOption = Annotated[bool, typer.Option("--watch", help="Stay and show what happens, until the run ends or Ctrl-C.")]


def status(ctx: typer.Context, run: OptionalRunArgument = None, *, watch: WatchOption = False) -> None:
    """Show the progress of a run.

    For each step: how far it is, its rate, the time left, and its last commit.
    """
    command: CommandContext = ctx.obj
    store = command.store_to_read()
    chosen = find_run(store, run) if run else newest_run(store)
    if chosen is None:
        raise BadCommandError(f"there is no run in {store.url} yet", then="neo list")
    run_status = RunStatus(chosen)
    run_status.watch_for_a_beat()
    if watch and not run_status.is_over:
        watch_run(run_status, command)
    command.say(headline(run_status), steps_table(run_status), *waiting_lines(run_status))
    command.say(*([] if run_status.state == "done" else later_takedowns(chosen.store, chosen.request)))
    command.end(document(run_status), then=_next(run_status))


def watch_run(run_status: RunStatus, command: CommandContext, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Show a run until it is over, calling `meanwhile` at each look. Ctrl-C ends the watching, not the run."""
    try:
        if command.console.is_terminal:
            with Live(console=command.console, get_renderable=lambda: _screen(run_status), transient=True):
                _until_over(run_status, meanwhile)
        else:
            lines = PlainLines(run_status.board, command.say)
            run_status.listeners.append(lines.take)
            lines.say_what_runs()
            with lines.now_and_then():
                _until_over(run_status, meanwhile)
    except KeyboardInterrupt:
        command.say("Not watching any more; the run goes on.")
    if run_status.is_over:
        end_dead_attempts(run_status.run, run_status.observer)
        run_status.refresh()


def headline(run_status: RunStatus) -> Text:
    """The run's state in a line, with its last attempt."""
    style = STYLES.get(run_status.state, "bold")
    line = Text(clean(run_status.run.name)).append(": ").append(run_status.state, style)
    record, end = run_status.standing.last, run_status.standing.end
    if record is not None:
        line.append(clean(f", attempt {record.number} on {record.host}, process {record.process_id}"))
    age = run_status.heartbeat_age_seconds
    if age is not None:
        line.append(f", last heartbeat {age:.0f} s ago")
    elif run_status.state == "unknown":
        line.append(", out of contact: no heartbeat seen yet")
    if run_status.waiting is not None:
        line.append(f", submitted as Ray job {run_status.waiting.job}, which has not begun")
    if end is not None and end.reason:
        line.append(clean(f" ({end.reason})"))
    return line


def document(run_status: RunStatus) -> dict[str, Any]:
    """The progress of a run as a JSON document."""
    record, end = run_status.standing.last, run_status.standing.end
    return {
        "run": run_status.run.name,
        "state": run_status.state,
        "attempt": run_status.attempt,
        "host": record.host if record else "",
        "reason": end.reason if end else "",
        "beat_age_seconds": run_status.heartbeat_age_seconds,
        "later_takedowns": recorded_since(run_status.run.store, run_status.run.request.takedowns),
        "steps": [_step_document(run_status, state) for state in run_status.board.steps.values()],
    }


def _step_document(run_status: RunStatus, state: StepState) -> dict[str, Any]:
    step = run_status.run.request.step(state.name)
    rate = state.rate(run_status.clock())
    return {
        "name": state.name,
        "stage": step.stage,
        "fingerprint": step.fingerprint,
        "state": state.status,
        "waits": state.queued or state.unsaved or (f"waits for {state.waits_for}" if state.waits_for else ""),
        "busy": state.busy,
        "phase": state.phase,
        "num_recorded": state.num_recorded,
        "num_parts": state.num_parts,
        "at_step": state.at_step,
        "committed_step": state.committed_step,
        "num_steps": state.num_steps,
        "items": state.items.model_dump(),
        "seconds": round(run_status.board.elapsed_seconds(state), 3),
        "rate_per_second": rate[0] if rate else None,
        "rate_unit": rate[1] if rate else None,
        "seconds_left": run_status.board.seconds_left(state),
        "commit_age_seconds": run_status.board.commit_age_seconds(state),
        "attempt": run_status.made_by.get(state.name, ""),
    }


def waiting_lines(run_status: RunStatus) -> list[str]:
    """A line for each step that waits for machines: for which, since when, and what there is."""
    with run_status.board.lock:
        return [
            clean(f"{state.name} {words}")
            for state in run_status.board.steps.values()
            if (words := state.queued or state.unsaved)
        ]


def later_takedowns(store: Store, request: Request) -> list[str]:
    """A line if something was taken down after a run was planned."""
    numbers = recorded_since(store, request.takedowns)
    if not numbers:
        return []
    named = f"Takedown {numbers[0]} was" if len(numbers) == 1 else f"Takedowns {', '.join(map(str, numbers))} were"
    return [
        f"{named} recorded after this run was planned, which ends by its plan. "
        f"Then this makes again what holds something of it: {request.command}"
    ]


def _screen(run_status: RunStatus) -> Group:
    waiting = map(Text, waiting_lines(run_status))
    return Group(
        headline(run_status), steps_table(run_status), *waiting, Text("Ctrl-C stops watching, not the run.", "dim")
    )


def steps_table(run_status: RunStatus) -> TextTable:
    """A row for each step."""
    with run_status.board.lock:
        rows = [_row(run_status, state) for state in run_status.board.steps.values()]
    table = TextTable(
        "step",
        "state",
        sentence("done"),
        number("took", goes=5),
        number("rate", goes=3),
        number("ends in", goes=4),
        number("last commit", goes=2),
        number("attempt", goes=1),
    )
    for row in rows:
        table.add(*row)
    return table


def _row(run_status: RunStatus, state: StepState) -> tuple[str | Text, ...]:
    board = run_status.board
    left, age = board.seconds_left(state), board.commit_age_seconds(state)
    is_committed = state.status in ("committed", "reused")
    return (
        state.name,
        Text(state.status, STYLES.get(state.status, "")),
        balance(state) if is_committed else ", ".join(filter(None, (progress(state), state.busy))),
        clock_time(board.elapsed_seconds(state)) if board.elapsed_seconds(state) else "",
        board.rate(state),
        clock_time(left) if left is not None else "",
        f"{clock_time(age)} ago" if age is not None and not is_committed else "",
        clean(run_status.made_by.get(state.name, "").removeprefix(f"{run_status.run.name}-")),
    )


def _until_over(run_status: RunStatus, meanwhile: Callable[[], None]) -> None:
    """Raises KeyboardInterrupt at the next look after a Ctrl-C."""
    with deferred_ctrl_c() as ctrl_c:
        while not run_status.is_over:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            run_status.refresh()
            meanwhile()
            if ctrl_c.pressed:
                raise KeyboardInterrupt


def _next(run_status: RunStatus) -> str:
    name = run_status.run.name
    if run_status.state == "done":
        return look_closer(run_status.plan)
    if run_status.is_over:
        return command_after(name, run_status.standing.last)
    return f"neo status {name} --watch   (or neo cancel {name})"
