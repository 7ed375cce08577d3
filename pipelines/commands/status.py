"""`neo status`: one line a step: how far, how fast, until when, and when it last committed. Read from the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipelines.commands.output import Answer, JsonOption, RunToPick, SiteOption, existing_store, find_site
from pipelines.exits import BadCommandError
from pipelines.running.signals import ctrl_c_noted
from pipelines.running.summary import look_closer
from pipelines.runs.attempts import bury_dead
from pipelines.runs.refs import find_run
from pipelines.runs.resume import go_on, newest
from pipelines.runs.status import Standing
from pipelines.screen.console import STYLES, clean
from pipelines.screen.plain_lines import PlainLines
from pipelines.screen.progress import StepState, balance, clock_time, progress
from pipelines.tracking.delivery import settle

SECONDS_BETWEEN_LOOKS = 1.0
WatchOption = Annotated[bool, typer.Option("--watch", help="Stay and show what happens, until the run ends or Ctrl-C.")]


def status(
    run: RunToPick = None, *, watch: WatchOption = False, site: SiteOption = "", as_json: JsonOption = False
) -> None:
    """Show how a run stands: progress, rate, end, last commit."""
    answer = Answer(as_json=as_json)
    place = find_site(site)
    store = existing_store(place)
    settle(store, place.mlflow)
    found = find_run(store, run) if run else newest(store)
    if found is None:
        raise BadCommandError(f"there is no run in {store.url} yet", then="neo list")
    standing = Standing(found)
    standing.watch_for_a_beat()
    if watch and not standing.is_over:
        watch_run(standing, answer)
    answer.say(headline(standing), steps_table(standing))
    answer.end(document(standing), then=_next(standing))


def watch_run(standing: Standing, answer: Answer, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Show a run until it is over, calling `meanwhile` at each look. Ctrl-C ends the watching, not the run."""
    try:
        if answer.console.is_terminal:
            with Live(console=answer.console, get_renderable=lambda: _screen(standing), transient=True):
                _until_over(standing, meanwhile)
        else:
            lines = PlainLines(standing.board, answer.say)
            standing.listeners.append(lines.take)
            lines.say_what_runs()
            with lines.now_and_then():
                _until_over(standing, meanwhile)
    except KeyboardInterrupt:
        answer.say("Not watching any more; the run goes on.")
    if standing.is_over:
        bury_dead(standing.run, standing.observer)
        standing.refresh()


def headline(standing: Standing) -> Text:
    """The run's state in a line, and who is at it."""
    style = STYLES.get(standing.state, "bold")
    said = Text(clean(standing.run.name)).append(": ").append(standing.state, style)
    record = standing.run.attempt(standing.attempt)
    if record is not None:
        said.append(clean(f", attempt {record.number} on {record.host}, process {record.process_id}"))
    age = standing.beat_age_seconds
    if age is not None:
        said.append(f", last heartbeat {age:.0f} s ago")
    elif standing.state == "unknown":
        said.append(", out of contact: no heartbeat seen yet")
    if standing.waiting is not None:
        said.append(f", submitted as Ray job {standing.waiting.job}, which has not begun")
    end = standing.run.end(standing.attempt) if standing.attempt else None
    if end is not None and end.reason:
        said.append(clean(f" ({end.reason})"))
    return said


def document(standing: Standing) -> dict[str, Any]:
    """How a run stands, for machines."""
    record = standing.run.attempt(standing.attempt)
    end = standing.run.end(standing.attempt) if standing.attempt else None
    return {
        "run": standing.run.name,
        "state": standing.state,
        "attempt": standing.attempt,
        "host": record.host if record else "",
        "reason": end.reason if end else "",
        "beat_age_seconds": standing.beat_age_seconds,
        "steps": [_step_document(standing, state) for state in standing.board.steps.values()],
    }


def _step_document(standing: Standing, state: StepState) -> dict[str, Any]:
    step = standing.run.request.step(state.name)
    rate = state.rate(standing.clock())
    return {
        "name": state.name,
        "stage": step.stage,
        "fingerprint": step.fingerprint,
        "state": state.status,
        "phase": state.phase,
        "num_recorded": state.num_recorded,
        "num_parts": state.num_parts,
        "at_step": state.at_step,
        "committed_step": state.committed_step,
        "num_steps": state.num_steps,
        "rate_per_second": rate[0] if rate else None,
        "rate_unit": rate[1] if rate else None,
        "seconds_left": standing.board.seconds_left(state),
        "commit_age_seconds": standing.board.commit_age_seconds(state),
        "attempt": standing.made_by.get(state.name, ""),
    }


def _screen(standing: Standing) -> Group:
    return Group(headline(standing), steps_table(standing), Text("Ctrl-C stops watching, not the run.", "dim"))


def steps_table(standing: Standing) -> Table:
    """A row for each step."""
    table = Table(box=None, pad_edge=False)
    for heading in ("step", "state", "done", "rate", "ends in", "last commit", "attempt"):
        is_number = heading in ("rate", "ends in", "last commit")
        table.add_column(heading, no_wrap=True, justify="right" if is_number else "left")
    with standing.board.lock:
        for state in standing.board.steps.values():
            table.add_row(*_row(standing, state))
    return table


def _row(standing: Standing, state: StepState) -> tuple[str | Text, ...]:
    board = standing.board
    left, age = board.seconds_left(state), board.commit_age_seconds(state)
    is_committed = state.status in ("committed", "reused")
    return (
        state.name,
        Text(state.status, STYLES.get(state.status, "")),
        balance(state) if is_committed else progress(state),
        board.rate(state),
        clock_time(left) if left is not None else "",
        f"{clock_time(age)} ago" if age is not None and not is_committed else "",
        clean(standing.made_by.get(state.name, "").removeprefix(f"{standing.run.name}-")),
    )


def _until_over(standing: Standing, meanwhile: Callable[[], None]) -> None:
    """Raises KeyboardInterrupt at the next look after a Ctrl-C."""
    with ctrl_c_noted() as noted:
        while not standing.is_over:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            standing.refresh()
            meanwhile()
            if noted.pressed:
                raise KeyboardInterrupt


def _next(standing: Standing) -> str:
    name = standing.run.name
    if standing.state == "done":
        return look_closer(standing.plan)
    return go_on(standing.run) if standing.is_over else f"neo status {name} --watch   (or neo cancel {name})"
