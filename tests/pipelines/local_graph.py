"""A run's graph carried out in this process, one step after the other, without Ray: what `run_graph` promises, small.

Run as a program it is `neo` on that backend: `python local_graph.py run file.py:function ...`.
"""

import functools
import sys
from dataclasses import dataclass

from cluster.local import local_context
from stages.contract import GangLayout, InterruptedRunError, SupersededError
from stages.events import StepEnded
from stages.order import carry_out


@dataclass(frozen=True)
class Outcome:
    step: str
    ending: str
    reason: str = ""
    details: str = ""


def run_graph_locally(orders, edges, site, on_event, stop):
    """As `cluster.graph.run_graph`."""
    outcomes = {}
    for step, order in orders.items():
        unmade = [name for name in edges[step] if name in outcomes and outcomes[name].ending not in ("committed", "reused")]
        if unmade or stop.is_set():
            outcomes[step] = Outcome(step, "not_started", f"it reads {unmade[0]!r}" if unmade else "asked to stop")
            continue
        try:
            layout = GangLayout(num_ranks=1, zero_stage=0)
            manifest = carry_out(order, functools.partial(local_context, layout=layout), on_event)
            ours = manifest.provenance["attempt"] == order.attempt
            outcomes[step] = Outcome(step, "committed" if ours else "reused")
        except Exception as error:
            kinds = {InterruptedRunError: "interrupted", SupersededError: "superseded"}
            outcomes[step] = Outcome(step, kinds.get(type(error), "failed"), str(error), details=f"traceback of {error}")
            on_event(StepEnded(step=step, outcome=outcomes[step].ending, reason=str(error)))
    return outcomes


if __name__ == "__main__":
    import pipelines.commands.run
    from pipelines.cli import main

    pipelines.commands.run.machines = lambda: run_graph_locally
    sys.exit(main())
