"""The report at the end of a run: steps, times, artifacts, accuracy, pictures, and what to type next."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from pipelines.exits import ExitCode
from pipelines.lineage.contents import evaluation_metrics, pictures
from pipelines.lineage.graph import lineage_of
from pipelines.planning.plan import Plan
from pipelines.planning.request import FrozenStep
from pipelines.running.execute_run import RunResult
from pipelines.running.scores import accuracy_table, retrieval_table
from pipelines.runs.log import log_key
from pipelines.screen.console import STYLES
from pipelines.screen.holdings import HOLDING_COLUMNS, holding_cells, remark_cells
from pipelines.screen.progress import clock_time, holds
from pipelines.screen.text_table import Cell, Column, TextTable, number
from pipelines.tracking.graph_picture import lineage_picture
from pipelines.tracking.sqlite import sqlite_path
from stages.artifacts.artifact import Artifact
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import read_head
from stages.artifacts.records import ItemBalance
from stages.store.errors import DiskFullError
from stages.store.fault_points import fault_point
from stages.store.store import Store

if TYPE_CHECKING:
    from cluster.site import Site


def report(
    plan: Plan, result: RunResult, site: Site, on_same_site: Callable[[str], str] = lambda command: command
) -> Iterator[Any]:
    """The lines and tables of the end of a run. `on_same_site` adds the site to a command that is to be typed."""
    made = committed_steps(plan, result.run.store)
    yield steps_table(plan, result, made)
    yield f"{result.run.name}, attempt {result.attempt}: {WORDS[result.code]} after {clock_time(result.seconds)}"
    if result.failure:
        yield f"What went wrong: {result.failure}"
    for step, ending in result.endings.items():
        if ending.ending in ("failed", "superseded"):
            yield f"{step}: {ending.reason}"
        kept = log_key(result.run, result.attempt, step)
        if ending.ending == "failed" and result.run.store.size_bytes(kept) is not None:
            yield f"  traceback: {_address(result.run.store, kept)}"
    for step, item in made.items():
        yield from _accuracy(step, item.metrics)
    yield from _pictures(plan, result, made)
    yield f"MLflow: {mlflow_command(site.mlflow, result.tracker_route)}"
    if result.num_undelivered:
        why = f" ({result.tracker_problem})" if result.tracker_problem else ""
        yield (
            f"MLflow at {masked(site.mlflow)} has not taken everything{why}: what waits in the store "
            f"({result.num_undelivered} messages) is delivered with the next command."
        )
    elif result.tracker_problem:
        yield f"MLflow at {masked(site.mlflow)} does not show everything: {result.tracker_problem}."
    if result.code == ExitCode.DONE:
        yield from _try_next(plan, on_same_site)


def next_command(result: RunResult, again: str) -> str:
    """The command to type after a run that is not done: `again`, the repair that the reason of a failed step names, or
    `neo status` if another attempt executes the run."""
    if result.code == ExitCode.SUPERSEDED:
        return f"neo status {result.run.name}"
    repairs = (REPAIR_COMMAND.search(ending.reason) for ending in result.endings.values())
    return next((match[1] for match in repairs if match), again)


REPAIR_COMMAND = re.compile(r"`(neo audit \S+ --repair)`")
WORDS = {
    ExitCode.DONE: "done",
    ExitCode.STEP_FAILED: "failed; what was committed stays",
    ExitCode.SUPERSEDED: "superseded: another attempt made it meanwhile, this one changed nothing",
    ExitCode.INTERRUPTED: "stopped; what was committed stays",
}


@dataclass(frozen=True)
class CommittedStep:
    """What the report needs of a committed artifact, without its parts, which may be many thousand."""

    holds: tuple[Cell, ...]
    """Parts and items, as cells of a table."""
    content: str
    """Content digest of the artifact."""
    items: ItemBalance
    metrics: dict[str, float]
    pictures: tuple[str, ...]
    """Keys of its pictures in the store."""


def committed_steps(plan: Plan, store: Store) -> dict[str, CommittedStep]:
    """The committed artifacts of a plan, by step."""
    made = store.each(partial(_committed, store), plan.request.steps)
    return {step.name: one for step, one in zip(plan.request.steps, made, strict=True) if one is not None}


def _committed(store: Store, step: FrozenStep) -> CommittedStep | None:
    head = read_head(store, step.stage, step.fingerprint)
    if head is None:
        return None
    metrics = evaluation_metrics(Artifact(store, head))
    drawn = tuple(entry.key for entry in pictures(head))
    return CommittedStep(holding_cells(head), head.content, head.items, metrics, drawn)


def steps_table(plan: Plan, result: RunResult, made: Mapping[str, CommittedStep]) -> TextTable:
    """A row for each step: how it ended, its time, its artifact and what that holds."""
    table = TextTable("step", "ended", number("time", goes=2), "artifact", Column("stage", goes=1), *HOLDING_COLUMNS)
    for step in plan.request.steps:
        ending = result.endings.get(step.name)
        ended = ending.ending.replace("_", " ") if ending else "not started"
        state = result.board.steps[step.name]
        table.add(
            step.name,
            Text(ended, STYLES.get(ended, "dim")),
            clock_time(state.seconds) if state.seconds else "",
            step.fingerprint[:SHOWN_DIGITS],
            step.stage,
            *(made[step.name].holds if step.name in made else remark_cells(holds(state))),
        )
    return table


def _accuracy(step: str, metrics: dict[str, float]) -> Iterator[Any]:
    if metrics:
        yield ""
        yield f"{step}: held-out accuracy, beside the same with the images exchanged (blind)"
        yield accuracy_table(metrics)
    if (recalls := retrieval_table(metrics)) is not None:
        yield ""
        yield recalls


def _pictures(plan: Plan, result: RunResult, made: Mapping[str, CommittedStep]) -> Iterator[str]:
    store = result.run.store
    addresses = [_address(store, key) for item in made.values() for key in item.pictures]
    target = plan.request.step(plan.request.targets[0])
    if target.name in made:
        key = f"{result.run.folder}/lineage.png"
        lineage = lineage_of(store, target.stage, target.fingerprint)
        with tempfile.TemporaryDirectory(prefix="neo-lineage-") as folder:
            drawn = lineage_picture(lineage, Path(folder) / "lineage.png")
            try:
                with fault_point("picture.kept", key):
                    store.upload(drawn, key)
                addresses.append(_address(store, key))
            except DiskFullError as error:
                yield f"No picture of the lineage: {error}"
    if addresses:
        yield ""
        yield "Pictures:"
        yield from (f"  {address}" for address in addresses)


def mlflow_command(uri: str, route: str) -> str:
    """The command to type, or the address to open, to see the page of a run at `route`, or all pages."""
    if sqlite_path(uri) is None:
        return f"open {masked(uri).rstrip('/')}/{route}"
    program = shutil.which("mlflow") or str(Path(sys.executable).with_name("mlflow"))
    return f"{program} ui --backend-store-uri {uri} --port 5000, then open http://127.0.0.1:5000/{route}"


def masked(uri: str) -> str:
    """An address without the name and password that it may hold."""
    head, separator, tail = uri.partition("://")
    return f"{head}{separator}{tail.rpartition('@')[2]}" if separator and "@" in tail.partition("/")[0] else uri


def look_closer(plan: Plan) -> str:
    """The command that shows the first target of a plan."""
    return f"neo show {plan.request.pipeline}/{plan.request.targets[0]}"


def _try_next(plan: Plan, on_same_site: Callable[[str], str]) -> Iterator[str]:
    name = f"{plan.request.pipeline}/{plan.request.targets[0]}"
    commands = {
        on_same_site(f"neo trace {name}"): "all it was made of, back to the sources",
        on_same_site(f"neo audit {name}"): "hash and count the whole chain again",
        on_same_site("neo where URL"): "what one image went into",
    }
    width = max(map(len, commands))
    yield ""
    yield "Try next:"
    yield from (f"  {command:<{width}}  {what}" for command, what in commands.items())


def result_document(plan: Plan, result: RunResult) -> dict[str, object]:
    """The end of a run as a JSON document."""
    made = committed_steps(plan, result.run.store)
    return {
        "run": result.run.name,
        "attempt": result.attempt,
        "seconds": round(result.seconds, 3),
        "failure": result.failure,
        "steps": {
            step.name: {
                "ended": result.endings[step.name].ending if step.name in result.endings else "not_started",
                "reason": result.endings[step.name].reason if step.name in result.endings else "",
                "seconds": round(result.board.steps[step.name].seconds, 3),
                "holds": holds(result.board.steps[step.name]),
                "stage": step.stage,
                "fingerprint": step.fingerprint,
                "content": made[step.name].content if step.name in made else None,
                "items": made[step.name].items.model_dump() if step.name in made else None,
            }
            for step in plan.request.steps
        },
        "metrics": {step: item.metrics for step, item in made.items() if item.metrics},
        "num_undelivered": result.num_undelivered,
    }


def _address(store: Store, key: str) -> str:
    return str(store.folder / key) if store.folder else f"{store.url}/{key}"
