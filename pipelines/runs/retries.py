"""The download or collection that `neo retry` names: its step in a run, and how many of its rows are fetched again."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pipelines.exits import BadCommandError, RefusedError
from pipelines.planning.request import FROZEN_PLAN, FrozenStep, Request
from pipelines.planning.retries import last_retry
from pipelines.runs.refs import resolve, run_named
from stages.artifacts.head import ManifestHead, read_head
from stages.artifacts.taken_over import EXTENDS_INPUT
from stages.retry_pairs import DOWNLOADS, RETRY
from stages.store.store import Store


@dataclass(frozen=True)
class FoundDownload:
    """A committed download, and the run that it is retried in."""

    request: Request
    """The run's frozen request."""
    step: FrozenStep
    """The step whose failed rows are fetched again: the download, or the last retry of it in that run."""
    head: ManifestHead
    """What that step made."""

    def num_failed(self, reasons: Collection[str]) -> int:
        """Rows that failed for one of these reasons."""
        return sum(number for reason, number in self.head.items.failed.items() if reason in reasons)


def find_download(store: Store, ref: str) -> FoundDownload:
    """The download that a reference names: RUN/STEP or PIPELINE/STEP, digits of its fingerprint, or a run with one.

    Raises `BadCommandError` where it names no download, or several, and `RefusedError` for one that is not committed.
    """
    request, name = _request_and_step(store, ref)
    step = request.step(last_retry([(one.name, _extended(one)) for one in request.steps], name))
    head = read_head(store, step.stage, step.fingerprint)
    if head is None:
        raise RefusedError(
            f"{request.run}/{step.name} is not committed yet: failed rows are fetched again once all of its parts are "
            "recorded",
            then=f"neo resume {request.run}",
        )
    return FoundDownload(request, step, head)


def _request_and_step(store: Store, ref: str) -> tuple[Request, str]:
    run, _, name = ref.partition("/")
    known = run_named(store, run)
    if known is None:
        artifact = resolve(store, ref).artifact
        provenance = artifact.head.provenance if artifact is not None else {}
        known, name = str(provenance.get("run", "")), str(provenance.get("step", ""))
    request = FROZEN_PLAN.read_or_skip(store, f"runs/{known}/plan.json") if known else None
    if request is None:
        raise BadCommandError(f"{ref!r} was made by no run whose plan is kept in {store.url}", then="neo list")
    downloads = list(_downloads(request))
    of_tables = [step.name for step in request.steps if step.stage == DOWNLOADS[0]]
    if not name and 1 in (len(downloads), len(of_tables)):
        return request, (of_tables if len(of_tables) == 1 else downloads)[0]
    if name not in [step.name for step in request.steps if step.stage in DOWNLOADS]:
        what = "which step it is about is not said" if not name else f"{name!r} is no step that fetches pictures"
        raise BadCommandError(
            f"{ref}: {what}; those of {request.run} are {', '.join(downloads) or 'none'}",
            then=f"neo retry {request.run}/{downloads[0]}" if downloads else f"neo show {request.run}",
        )
    return request, name


def _downloads(request: Request) -> Iterator[str]:
    """Steps that download a table, or collect pictures, for the first time."""
    return (step.name for step in request.steps if step.stage in DOWNLOADS and _extended(step) is None)


def _extended(step: FrozenStep) -> str | None:
    """The step that a retry fetches rows of; None for another step."""
    return step.inputs[EXTENDS_INPUT].step if step.stage == RETRY else None
