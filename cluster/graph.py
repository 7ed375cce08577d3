"""The steps of a run as a Ray DAG, and the walk that submits each once its inputs are committed.

Owns Ray's words for graphs. The DAG is built with Ray's own `bind`, one node a step, and can be drawn before any
machine is used. `DAGNode.execute` is deprecated and stops at the first failure, so the walk is ours: independent
branches run side by side and go on to their end when another fails.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event as Flag
from typing import TYPE_CHECKING, Any

import ray
from ray.dag import DAGNode
from ray.exceptions import RayError, RayTaskError

from cluster.board import open_board
from cluster.failure import Failure
from cluster.session import on_this_machine, ray_session
from cluster.site import Site
from cluster.step_task import StepOutcome, carry_out_step
from stages.commit.execute_step import StepSpec
from stages.contract import Event, StepEnded

if TYPE_CHECKING:
    from ray.actor import ActorHandle

RETRIES_AFTER_DEATHS = 3
"""How often one step is submitted again because the process that waits for its parts died."""
SECONDS_BETWEEN_LOOKS = 0.2

_STEP_TASK = ray.remote(num_cpus=0, max_retries=0)(carry_out_step)


class StepGraph:
    """A run's steps, bound into Ray's DAG."""

    def __init__(self, orders: Mapping[str, StepSpec], edges: Mapping[str, Sequence[str]], site: Site) -> None:
        """`edges` names for each step those that it reads. Steps that are committed already may be left out."""
        self.orders = orders
        self.nodes: dict[str, DAGNode] = {}
        with _by_value(orders.values()):
            for step in _inputs_first(orders, edges):
                order = orders[step]
                inputs = [self.nodes[name] for name in dict.fromkeys(edges.get(step, ())) if name in orders]
                resources = site.resources(stage=order.stage.name, step=step)
                self.nodes[step] = _STEP_TASK.options(name=step).bind(order, resources, *inputs)

    def inputs(self, step: str) -> list[str]:
        """The steps that Ray's DAG holds as inputs of one step."""
        return [_name(upstream) for upstream in self.nodes[step].get_args() if isinstance(upstream, DAGNode)]

    def edges(self) -> set[tuple[str, str]]:
        """(read, reader) for every edge of Ray's DAG."""
        return {(read, step) for step in self.nodes for read in self.inputs(step)}

    def drawing(self) -> str:
        """The DAG in Graphviz's DOT language."""
        boxes = [
            f'  "{step}" [label="{step}\\n{order.stage.name} {order.fingerprint[:12]}"];'
            for step, order in self.orders.items()
        ]
        arrows = [f'  "{read}" -> "{step}";' for read, step in sorted(self.edges())]
        return "\n".join(["digraph run {", "  rankdir=LR;", "  node [shape=box];", *boxes, *arrows, "}", ""])

    def submit(self, step: str, inputs: Mapping[str, StepOutcome], board: ActorHandle) -> Any:
        """Start one step in its Ray task, with the outcomes of its inputs where its node has theirs.

        On the driver's machine: were it lost with that of its gang, Ray could keep the dead gang's machines reserved.
        """
        node = self.nodes[step]
        arguments = [inputs[_name(one)] if isinstance(one, DAGNode) else one for one in node.get_args()]
        with _by_value([self.orders[step]]):
            options = {**node.get_options(), "scheduling_strategy": on_this_machine()}
            return _STEP_TASK.options(**options).remote(*arguments, board=board)


def run_graph(
    orders: Mapping[str, StepSpec],
    edges: Mapping[str, Sequence[str]],
    site: Site,
    on_event: Callable[[Event], None],
    stop: Flag,
) -> dict[str, StepOutcome]:
    """Carry out all orders on a site; returns how each step ended.

    `edges` names for each step those that it reads; `on_event` is called in this thread with what happens; once
    `stop` is set, nothing new begins and the steps under way end at their next commit.
    """
    graph = StepGraph(orders, edges, site)
    with ray_session(site), open_board() as board:
        return _Walk(graph, board, on_event, stop).to_the_end()


class _Walk:
    """One walk over a graph."""

    def __init__(self, graph: StepGraph, board: ActorHandle, on_event: Callable[[Event], None], stop: Flag) -> None:
        self._graph = graph
        self._board = board
        self._on_event = on_event
        self._stop = stop
        self._stop_passed_on = False
        self._running: dict[Any, str] = {}
        self._started_seconds: dict[str, float] = {}
        self._deaths: Counter[str] = Counter()
        self._outcomes: dict[str, StepOutcome] = {}

    def to_the_end(self) -> dict[str, StepOutcome]:
        self._submit_ready()
        while self._running:
            self._pass_on_stop()
            ended, _ = ray.wait(list(self._running), timeout=SECONDS_BETWEEN_LOOKS)
            outcomes = [self._outcome(ref) for ref in ended]
            for event in ray.get(self._board.collect.remote()):
                self._on_event(event)
            for outcome in outcomes:
                self._settle(outcome)
            self._submit_ready()
        return {step: self._outcomes.get(step) or self._not_started(step) for step in self._graph.orders}

    def _submit_ready(self) -> None:
        under_way = {*self._outcomes, *self._running.values()}
        for step in self._graph.orders:
            if step in under_way or self._stop.is_set():
                continue
            inputs = {name: self._outcomes.get(name) for name in self._graph.inputs(step)}
            committed = {name: found for name, found in inputs.items() if found is not None and found.is_committed}
            if len(committed) == len(inputs):
                self._started_seconds.setdefault(step, time.monotonic())
                self._running[self._graph.submit(step, committed, self._board)] = step

    def _outcome(self, ref: Any) -> StepOutcome | None:
        """How a task ended; None where its process died and the step is to be submitted again."""
        step = self._running.pop(ref)
        where = f"step {step!r}"
        try:
            outcome: StepOutcome = ray.get(ref)
            return outcome
        except RayTaskError as error:  # its process could not even begin: its code does not import, say
            return StepOutcome.of_failure(step, Failure.of(error.cause or error, where))
        except RayError as death:
            self._deaths[step] += 1
            if self._deaths[step] <= RETRIES_AFTER_DEATHS:
                return None
            return StepOutcome.of_failure(step, Failure.of(death, f"{where}, {self._deaths[step]} times,"))

    def _settle(self, outcome: StepOutcome | None) -> None:
        if outcome is None:
            return
        self._outcomes[outcome.step] = outcome
        if outcome.ending in ("failed", "interrupted", "superseded"):
            seconds = time.monotonic() - self._started_seconds[outcome.step]
            ended = StepEnded(step=outcome.step, outcome=outcome.ending, seconds=seconds, reason=outcome.reason)
            self._on_event(ended)

    def _pass_on_stop(self) -> None:
        if self._stop.is_set() and not self._stop_passed_on:
            self._board.ask_stop.remote()
            self._stop_passed_on = True

    def _not_started(self, step: str) -> StepOutcome:
        unmade = [name for name in self._graph.inputs(step) if not self._is_committed(name)]
        reason = f"it reads {unmade[0]!r}, which is not committed" if unmade else "the run was asked to stop"
        return StepOutcome(step, "not_started", reason=reason)

    def _is_committed(self, step: str) -> bool:
        outcome = self._outcomes.get(step)
        return outcome is not None and outcome.is_committed


def _name(node: DAGNode) -> str:
    return str(node.get_options()["name"])


def _inputs_first(orders: Mapping[str, StepSpec], edges: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The steps in an order in which each comes after those it reads. Raises ValueError for a circle."""
    from graphlib import CycleError, TopologicalSorter

    try:
        yield from (step for step in TopologicalSorter(edges).static_order() if step in orders)
    except CycleError as error:
        raise ValueError(f"steps read one another in a circle: {' -> '.join(error.args[1])}") from error
    yield from (step for step in orders if step not in edges)


@contextmanager
def _by_value(orders: Sequence[StepSpec] | Any) -> Iterator[None]:
    """While inside, what a user's own file defines is pickled whole, since no other machine has that file."""
    modules = {name for order in orders for name in order.user_modules if name in sys.modules}
    for name in modules:
        ray.cloudpickle.register_pickle_by_value(sys.modules[name])
    try:
        yield
    finally:
        for name in modules:
            ray.cloudpickle.unregister_pickle_by_value(sys.modules[name])
