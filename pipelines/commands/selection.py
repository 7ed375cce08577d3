"""Makes a plan of the arguments that `neo plan`, `neo run` and `neo submit` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipelines.exits import BadCommandError
from pipelines.planning.catalog import find_pipeline
from pipelines.planning.overrides import known_step, read_uses, with_forks
from pipelines.planning.plan import Plan, check_only, decide
from pipelines.planning.request import Request, Selection, freeze
from pipelines.planning.retries import extended_steps, last_retry, with_retries
from pipelines.planning.source_checks import check_unchanged
from pipelines.planning.sources import Definitions, load_definitions, with_pins
from pipelines.runs.forks import read_forks
from pipelines.runs.own_code import explained
from pipelines.runs.refs import find_head
from stages.store.store import Store


@dataclass(frozen=True)
class TypedSelection:
    """The arguments that `neo plan`, `neo run` and `neo submit` share, as typed."""

    pipeline: str
    settings: Sequence[str] = ()
    until: str | None = None
    only: str | None = None
    uses: Sequence[str] = ()
    places: Mapping[str, str] = field(default_factory=dict)
    """Source name to the place where the site says that its files lie."""
    froms: Sequence[str] = ()
    """The checkpoints that trainings begin from, each as `STEP@N` or `STEP=REF@N`."""
    retries: Sequence[str] = ()
    """The downloads of which failed rows are fetched again, each as `STEP=REASONS`."""

    @classmethod
    def as_before(cls, request: Request, places: Mapping[str, str]) -> TypedSelection:
        """The arguments from which a request was frozen, to compare it with the pipeline's file as it is now."""
        file, function = request.user_file, request.request.rpartition(":")[2]
        return cls(
            pipeline=f"{file.path}:{function}" if file else request.request,
            settings=request.settings,
            until=request.until,
            only=request.only,
            uses=[f"{step.name}={step.fingerprint}" for step in request.steps if step.used],
            places=places,
            froms=[step.typed_fork for step in request.steps if step.fork],
            retries=request.retries,
        )

    def with_retry(self, text: str, until: str | None) -> TypedSelection:
        """The same with failed rows of one more download fetched again, up to the step `until`.

        Where that is the download itself, up to its retry.
        """
        asked = replace(self, retries=[*self.retries, text], only=None, until=None)
        download, pipeline = text.partition("=")[0], find_pipeline(self.pipeline)
        steps = with_retries(pipeline, asked.retries, self.settings).steps
        return replace(asked, until=last_retry(extended_steps(steps), until) if until == download else until)


def planned(asked: TypedSelection, store: Store) -> Plan:
    """The plan for these arguments, from the store as it is now. Raises `CommandError` for names that do not exist."""
    return decided(asked, store, *requested_with_sources(asked, store))


def decided(asked: TypedSelection, store: Store, request: Request, definitions: Definitions) -> Plan:
    """The plan for a request, its sources compared with what is pinned. Raises `CommandError` where one changed."""
    plan = explained(decide(request, store), store)
    check_unchanged(definitions, request, plan.to_make, asked.pipeline)
    check_only(plan, store)
    return plan


def requested(asked: TypedSelection, store: Store) -> Request:
    """The frozen request for these arguments. Raises `CommandError` for names that do not exist."""
    request, _ = requested_with_sources(asked, store)
    return request


def requested_with_sources(asked: TypedSelection, store: Store) -> tuple[Request, Definitions]:
    """The frozen request, and the definitions of sources that it was made with: a lock file may list many files."""
    if asked.until and asked.only:
        raise BadCommandError("--until and --only exclude each other", then=f"neo plan {asked.pipeline}")
    pipeline = with_retries(find_pipeline(asked.pipeline), asked.retries, asked.settings)
    pipeline = with_forks(pipeline, read_forks(pipeline, asked.froms, store))
    definitions = load_definitions(pipeline, asked.places)
    pipeline, sources = with_pins(pipeline, definitions)
    for option, step in (("--until", asked.until), ("--only", asked.only)):
        if step is not None:
            known_step(pipeline, step, f"{option} {step}")
    uses: Mapping[str, str] = read_uses(pipeline, asked.uses)
    if used := [name for name in uses if pipeline.steps[name].fork is not None]:
        raise BadCommandError(
            f"--use and --from both name {', '.join(used)}: a step whose artifact is given trains nothing",
            then=f"neo plan {asked.pipeline}",
        )
    manifests = {step: find_head(store, fingerprint) for step, fingerprint in uses.items()}
    selection = Selection(until=asked.until, only=asked.only, uses=manifests)
    request = freeze(pipeline, store, selection, tuple(asked.settings), sources)
    return request.model_copy(update={"retries": tuple(asked.retries)}), definitions
