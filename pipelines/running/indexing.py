"""Makes the indexes of samples that a run has committed, where its site asks for them, once the run is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from pipelines.indexes.build import TaskSpread, make_indexes, spread_here
from pipelines.indexes.on_machines import spread_on
from pipelines.indexes.subjects import indexed_of
from pipelines.lineage.graph import step_name
from pipelines.runs.run import Run
from stages.artifacts.head import ManifestHead, read_head
from stages.contract import InterruptedRunError, StageError

if TYPE_CHECKING:
    from cluster.site import Site


def index_committed(run: Run, site: Site, say: Callable[[str], None]) -> None:
    """Make the indexes that the site asks for, of all that any attempt of this run has committed.

    `say` gets lines for people. What was committed stays so: an error or a stop is told, with the command that
    continues.
    """
    texts = site.indexes == "texts"
    if site.indexes == "none":
        return
    try:
        heads = [head for head in _committed(run) if indexed_of(head, texts=texts)]
        if heads:
            with _spread(site, say) as spread:
                for head in heads:
                    say(f"{step_name(head)}: makes the indexes of {head.short}")
                    make_indexes(run.store, head, texts=texts, spread=spread)
    except (KeyboardInterrupt, InterruptedRunError):
        say(f"The making of indexes was stopped; `neo index{' --text' if texts else ''}` continues.")
    except Exception as error:  # whatever it is, the steps of the run are done
        say(f"Indexes were not made: {error}. `neo index{' --text' if texts else ''}` tries again.")


def _committed(run: Run) -> Iterator[ManifestHead]:
    """The artifacts that the run has made, without those that it found made by others."""
    for step in run.request.steps:
        head = read_head(run.store, step.stage, step.fingerprint)
        if head is not None and head.provenance.get("run") == run.name:
            yield head


@contextmanager
def _spread(site: Site, say: Callable[[str], None]) -> Iterator[TaskSpread]:
    """The machines of the site's cluster, else this one."""
    if site.is_embedded:
        yield spread_here
        return
    from cluster.parts.machines import machines_of
    from cluster.session import SessionError

    try:
        with machines_of(site, "index") as machines:
            yield spread_on(machines, say, nullcontext)
    except SessionError as error:
        raise StageError(str(error)) from error
