"""The steps of a run as a Ray DAG, and the scheduler that submits each step once its inputs are committed.

Owns all use of `ray.dag`. The DAG is built with Ray's own `bind`, one node per step, and can be drawn before Ray is
started. `DAGNode.execute` is deprecated and stops at the first failure, so the scheduler is ours: independent branches
run in parallel and continue to their end when another branch fails.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from graphlib import CycleError, TopologicalSorter
from threading import Event as Flag
from typing import TYPE_CHECKING, Any

import ray
from ray.dag import DAGNode
from ray.exceptions import RayError, RayTaskError

from cluster.board import EventInbox, open_board
from cluster.failure import Failure
from cluster.session import on_this_machine, ray_session, worker_options
from cluster.site import Site
from cluster.step_task import StepOutcome, run_step_task
from stages.commit.step_spec import StepSpec
from stages.contract import Event, StepEnded

if TYPE_CHECKING:
    from ray.actor import ActorHandle

RETRIES_AFTER_DEATHS = 3
"""Retries of one step after its own process, which waits for parts and ranks, died."""
POLL_SECONDS = 0.2
"""Longest wait for a step to end before events are collected and the stop request is looked at again."""

_STEP_TASK = ray.remote(num_cpus=0, max_retries=0)(run_step_task)


class StepGraph:
    """The steps of a run as nodes of Ray's DAG."""

    def __init__(self, specs: Mapping[str, StepSpec], edges: Mapping[str, Sequence[str]], site: Site) -> None:
        """`edges` maps each step to the steps that it reads; those that are committed already may have no spec.

        Raises ValueError where steps read one another in a circle.
        """
        self.specs = specs
        self._site = site
        self.nodes: dict[str, DAGNode] = {}
        with _user_code_by_value(specs.values()):
            for step in _topological_order(specs, edges):
                spec = specs[step]
                inputs = [self.nodes[name] for name in dict.fromkeys(edges.get(step, ())) if name in specs]
                resources = site.resources(stage=spec.stage.name, step=step)
                options = {"name": step, "memory": site.driver.step_memory_bytes}
                self.nodes[step] = _STEP_TASK.options(**options).bind(spec, resources, *inputs)

    def inputs(self, step: str) -> list[str]:
        """Names of the steps that Ray's DAG holds as inputs of one step."""
        return [_name(upstream) for upstream in self.nodes[step].get_args() if isinstance(upstream, DAGNode)]

    def edges(self) -> set[tuple[str, str]]:
        """Every edge of Ray's DAG, as (read, reader)."""
        return {(read, step) for step in self.nodes for read in self.inputs(step)}

    def drawing(self) -> str:
        """The DAG in Graphviz's DOT language."""
        boxes = [
            f'  "{step}" [label="{step}\\n{spec.stage.name} {spec.fingerprint[:12]}"];'
            for step, spec in self.specs.items()
        ]
        arrows = [f'  "{read}" -> "{step}";' for read, step in sorted(self.edges())]
        return "\n".join(["digraph run {", "  rankdir=LR;", "  node [shape=box];", *boxes, *arrows, "}", ""])

    def submit(self, step: str, inputs: Mapping[str, StepOutcome], board: ActorHandle) -> Any:
        """Submit the Ray task of one step; the outcomes of its inputs replace the nodes among its arguments.

        The task runs on the driver's machine. If it were lost together with a machine of its gang, Ray could keep the
        other machines of the dead gang reserved.
        """
        node = self.nodes[step]
        arguments = [inputs[_name(one)] if isinstance(one, DAGNode) else one for one in node.get_args()]
        with _user_code_by_value([self.specs[step]]):
            options = {**node.get_options(), "scheduling_strategy": on_this_machine(), **worker_options(self._site)}
            return _STEP_TASK.options(**options).remote(*arguments, board=board)


def run_graph(
    specs: Mapping[str, StepSpec],
    edges: Mapping[str, Sequence[str]],
    site: Site,
    on_event: Callable[[Event], None],
    stop: Flag,
) -> dict[str, StepOutcome]:
    """Execute all steps on a site; returns how each ended.

    `edges` maps each step to the steps that it reads. `on_event` is called in this thread. Once `stop` is set, no step
    and no part begins, and steps that run end at their next commit.
    """
    graph = StepGraph(specs, edges, site)
    with ray_session(site), open_board() as board:
        return _Scheduler(graph, board, on_event, stop).run()


class _Scheduler:
    """One execution of a graph."""

    def __init__(self, graph: StepGraph, board: ActorHandle, on_event: Callable[[Event], None], stop: Flag) -> None:
        self._graph = graph
        self._board = board
        self._inbox = EventInbox(board)
        self._on_event = on_event
        self._stop = stop
        self._is_stop_forwarded = False
        self._running: dict[Any, str] = {}
        self._started_seconds: dict[str, float] = {}
        self._deaths: Counter[str] = Counter()
        self._outcomes: dict[str, StepOutcome] = {}

    def run(self) -> dict[str, StepOutcome]:
        """Submit steps until none can begin and none runs; returns the outcome of every step."""
        self._submit_ready()
        while self._running:
            self._forward_stop()
            ended, _ = ray.wait(list(self._running), timeout=POLL_SECONDS)
            outcomes = [self._outcome(ref) for ref in ended]
            for event in self._inbox.take():
                self._on_event(event)
            for outcome in outcomes:
                self._record(outcome)
            self._submit_ready()
        return {step: self._outcomes.get(step) or self._not_started(step) for step in self._graph.specs}

    def _submit_ready(self) -> None:
        under_way = {*self._outcomes, *self._running.values()}
        for step in self._graph.specs:
            if step in under_way or self._stop.is_set():
                continue
            inputs = {name: self._outcomes.get(name) for name in self._graph.inputs(step)}
            committed = {name: outcome for name, outcome in inputs.items() if outcome and outcome.is_committed}
            if len(committed) == len(inputs):
                self._started_seconds.setdefault(step, time.monotonic())
                self._running[self._graph.submit(step, committed, self._board)] = step

    def _outcome(self, ref: Any) -> StepOutcome | None:
        """How a task ended; None if its process died and the step is retried."""
        step = self._running.pop(ref)
        where = f"step {step!r}"
        try:
            outcome: StepOutcome = ray.get(ref)
            return outcome
        except RayTaskError as error:  # the task did not begin, for example because its code cannot be imported
            return StepOutcome.of_failure(step, Failure.of(error.cause or error, where))
        except RayError as death:
            self._deaths[step] += 1
            if self._deaths[step] <= RETRIES_AFTER_DEATHS:
                return None
            return StepOutcome.of_failure(step, Failure.of(death, f"{where}, {self._deaths[step]} times,"))

    def _record(self, outcome: StepOutcome | None) -> None:
        if outcome is None:
            return
        self._outcomes[outcome.step] = outcome
        if outcome.ending in ("failed", "interrupted", "superseded"):
            seconds = time.monotonic() - self._started_seconds[outcome.step]
            ended = StepEnded(step=outcome.step, outcome=outcome.ending, seconds=seconds, reason=outcome.reason)
            self._on_event(ended)

    def _forward_stop(self) -> None:
        if self._stop.is_set() and not self._is_stop_forwarded:
            self._board.request_stop.remote()
            self._is_stop_forwarded = True

    def _not_started(self, step: str) -> StepOutcome:
        unmade = [name for name in self._graph.inputs(step) if not self._is_committed(name)]
        reason = f"it reads {unmade[0]!r}, which is not committed" if unmade else "the run was asked to stop"
        return StepOutcome(step, "not_started", reason=reason)

    def _is_committed(self, step: str) -> bool:
        outcome = self._outcomes.get(step)
        return outcome is not None and outcome.is_committed


def _name(node: DAGNode) -> str:
    return str(node.get_options()["name"])


def _topological_order(specs: Mapping[str, StepSpec], edges: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The steps in an order in which each comes after those it reads. Raises ValueError for a circle."""
    try:
        yield from (step for step in TopologicalSorter(edges).static_order() if step in specs)
    except CycleError as error:
        raise ValueError(f"steps read one another in a circle: {' -> '.join(error.args[1])}") from error
    yield from (step for step in specs if step not in edges)


@contextmanager
def _user_code_by_value(specs: Sequence[StepSpec] | Any) -> Iterator[None]:
    """Within this context, classes and functions of a user's own file are pickled by value: workers lack the file."""
    modules = {name for spec in specs for name in spec.user_modules if name in sys.modules}
    for name in modules:
        ray.cloudpickle.register_pickle_by_value(sys.modules[name])
    try:
        yield
    finally:
        for name in modules:
            ray.cloudpickle.unregister_pickle_by_value(sys.modules[name])
