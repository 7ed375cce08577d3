"""Indexes made by the machines of a site: the same two maps, as parts of work that is recorded nowhere.

What a machine has made lies in the store, so a lost machine, a stop or a lost driver costs the groups and pieces that
were under way, and the next `neo index` continues.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pipelines.screen.progress import queued_words
from stages.contract import Event, MachinesAwaited, Part, Post, WarningPosted

if TYPE_CHECKING:
    from cluster.parts.machines import Machines
    from pipelines.indexes.build import TaskSpread

Task = TypeVar("Task")
Done = TypeVar("Done")


def work_on_part(part: Part, _post: Post, _stop_asked: Callable[[], bool], *, work: Callable[[Any], Done]) -> Done:
    """The work on one group or piece, on one of the machines."""
    return work(tuple(part.task["of"]))


def spread_on(
    machines: Machines, say: Callable[[str], None], stopping: Callable[[], AbstractContextManager[None]]
) -> TaskSpread:
    """Spreads work over the machines of a site. Within `stopping`, a signal sets `machines.stop`."""

    def told(event: Event) -> None:
        if isinstance(event, WarningPosted):
            say(f"  {event.message}")
        elif isinstance(event, MachinesAwaited):
            say(f"  {queued_words(event) or 'goes on: machines have come'}")

    def spread(work: Callable[[Task], Done], tasks: Sequence[Task], phase: str, /) -> Iterable[Done]:
        parts = [Part(name=f"{number:06d}", task={"of": task}) for number, task in enumerate(tasks)]
        results: list[Done] = []

        def keep(_: Part, result: Done) -> None:
            results.append(result)

        with stopping():
            machines.each(partial(work_on_part, work=work), parts, phase=phase, keep=keep, post=told)
        return results

    return spread
