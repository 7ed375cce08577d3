"""From what was typed to a plan: recipe, settings, selection, and what the store holds."""

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
class Asked:
    """The arguments that `neo plan`, `neo run` and `neo submit` share."""

    recipe: str
    settings: Sequence[str] = ()
    until: str | None = None
    only: str | None = None
    uses: Sequence[str] = ()

    @classmethod
    def as_before(cls, request: Request) -> Asked:
        """What was asked when a request was frozen, to be asked of the recipe as it is now."""
        file, function = request.user_file, request.request.rpartition(":")[2]
        return cls(
            recipe=f"{file.path}:{function}" if file else request.request,
            settings=request.settings,
            until=request.until,
            only=request.only,
            uses=[f"{step.name}={step.fingerprint}" for step in request.steps if step.used],
        )


def planned(asked: Asked, store: Store) -> Plan:
    """The plan of what was asked, as things stand. Raises `CommandError` for what makes no sense."""
    plan = decide(requested(asked, store), store)
    check_only(plan, store)
    return plan


def requested(asked: Asked, store: Store) -> Request:
    """What was asked, frozen. Raises `CommandError` for what makes no sense."""
    if asked.until and asked.only:
        raise BadCommandError("--until and --only exclude each other", then=f"neo plan {asked.recipe}")
    pipeline = apply_settings(find_pipeline(asked.recipe), asked.settings)
    for option, step in (("--until", asked.until), ("--only", asked.only)):
        if step is not None:
            known_step(pipeline, step, f"{option} {step}")
    uses: Mapping[str, str] = read_uses(pipeline, asked.uses)
    manifests = {step: find_manifest(store, fingerprint) for step, fingerprint in uses.items()}
    selection = Selection(until=asked.until, only=asked.only, uses=manifests)
    return freeze(pipeline, store, selection, tuple(asked.settings))
