"""A run's graph carried out in this process, one step after the other, without Ray: what `run_graph` promises, small.

As a program it is `neo` on that backend, the driver that tests kill: python -m tests.pipelines.local_graph run ...
"""

import functools
from dataclasses import dataclass

from cluster.local import local_context
from stages.commit.execute_step import execute_step
from stages.contract import GangLayout, InterruptedRunError, StepEnded, SupersededError


@dataclass(frozen=True)
class Outcome:
    step: str
    ending: str
    reason: str = ""
    details: str = ""


ONE_RANK = functools.partial(local_context, layout=GangLayout(num_ranks=1, zero_stage=0))


def run_graph_locally(orders, edges, site, on_event, stop, open_context=ONE_RANK):
    """As `cluster.graph.run_graph`."""
    outcomes = {}
    for step, order in orders.items():
        unmade = [name for name in edges[step] if name in outcomes and not is_committed(outcomes[name])]
        if unmade or stop.is_set():
            why = f"it reads {unmade[0]!r}, which is not committed" if unmade else "the run was asked to stop"
            outcomes[step] = Outcome(step, "not_started", why)
            continue
        try:
            manifest = execute_step(order, open_context, on_event, stop.is_set)
            ours = manifest.provenance["attempt"] == str(order.attempt)
            outcomes[step] = Outcome(step, "committed" if ours else "reused")
        except Exception as error:
            kinds = {InterruptedRunError: "interrupted", SupersededError: "superseded"}
            outcomes[step] = Outcome(step, kinds.get(type(error), "failed"), str(error), f"traceback: {error!r}")
            on_event(StepEnded(step=step, outcome=outcomes[step].ending, reason=str(error)))
    return outcomes


def is_committed(outcome: Outcome) -> bool:
    return outcome.ending in ("committed", "reused")


if __name__ == "__main__":
    import pipelines.commands.run
    from pipelines.cli import main

    pipelines.commands.run.machines = lambda: run_graph_locally
    main()
