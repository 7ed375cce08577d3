"""Makes a plan of the arguments that `neo plan`, `neo run` and `neo submit` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.exits import BadCommandError
from pipelines.planning.catalog import find_pipeline
from pipelines.planning.overrides import apply_settings, known_step, read_uses
from pipelines.planning.plan import Plan, check_only, decide
from pipelines.planning.request import Request, Selection, freeze
from pipelines.runs.refs import find_manifest
from stages.store.store import Store


@dataclass(frozen=True)
class TypedSelection:
    """The arguments that `neo plan`, `neo run` and `neo submit` share, as typed."""

    pipeline: str
    settings: Sequence[str] = ()
    until: str | None = None
    only: str | None = None
    uses: Sequence[str] = ()

    @classmethod
    def as_before(cls, request: Request) -> TypedSelection:
        """The arguments from which a request was frozen, to compare it with the pipeline's file as it is now."""
        file, function = request.user_file, request.request.rpartition(":")[2]
        return cls(
            pipeline=f"{file.path}:{function}" if file else request.request,
            settings=request.settings,
            until=request.until,
            only=request.only,
            uses=[f"{step.name}={step.fingerprint}" for step in request.steps if step.used],
        )


def planned(asked: TypedSelection, store: Store) -> Plan:
    """The plan for these arguments, from the store as it is now. Raises `CommandError` for names that do not exist."""
    plan = decide(requested(asked, store), store)
    check_only(plan, store)
    return plan


def requested(asked: TypedSelection, store: Store) -> Request:
    """The frozen request for these arguments. Raises `CommandError` for names that do not exist."""
    if asked.until and asked.only:
        raise BadCommandError("--until and --only exclude each other", then=f"neo plan {asked.pipeline}")
    pipeline = apply_settings(find_pipeline(asked.pipeline), asked.settings)
    for option, step in (("--until", asked.until), ("--only", asked.only)):
        if step is not None:
            known_step(pipeline, step, f"{option} {step}")
    uses: Mapping[str, str] = read_uses(pipeline, asked.uses)
    manifests = {step: find_manifest(store, fingerprint) for step, fingerprint in uses.items()}
    selection = Selection(until=asked.until, only=asked.only, uses=manifests)
    return freeze(pipeline, store, selection, tuple(asked.settings))
