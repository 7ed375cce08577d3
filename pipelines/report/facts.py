"""What a report is made of: the plan, attempts, heads, scores and history of a run, read once.

Reads heads, small files and messages: no manifest, no table, nothing that grows with rows or parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from pydantic import ValidationError

from pipelines.lineage.contents import evaluation_metrics
from pipelines.lineage.graph import Lineage, Node, inputs_first, lineage_of
from pipelines.planning.recipe_diff import flat_fields
from pipelines.planning.request import FrozenStep, Request
from pipelines.report.history import History, read_history
from pipelines.runs.run import AttemptEnd, AttemptRecord, Run
from stages.artifacts.artifact import Artifact
from stages.artifacts.head import ManifestHead, read_head
from stages.contract import BindError, load_stage
from stages.store.errors import StoreError

SHIPPED_STAGES = "stages."
"""How the import paths of shipped stages begin. A user's own code is not imported to show what was made."""


@dataclass(frozen=True)
class RunFacts:
    """A run as a report shows it."""

    run: Run
    heads: Mapping[str, ManifestHead]
    """The committed artifacts, by step."""
    scores: Mapping[str, Mapping[str, float]]
    """The numbers of each evaluation, by step."""
    attempts: tuple[tuple[AttemptRecord, AttemptEnd | None], ...]
    history: History

    @property
    def request(self) -> Request:
        """The frozen plan."""
        return self.run.request

    @cached_property
    def state(self) -> str:
        """How the last attempt ended, in a word; `not ended` while it is open."""
        end = self.attempts[-1][1] if self.attempts else None
        return end.outcome if end else "not ended" if self.attempts else "planned"

    def is_made_here(self, step: str) -> bool:
        """Whether this run made the artifact of a step itself, rather than reuse it."""
        return step in self.heads and self.heads[step].provenance.get("run") == self.run.name

    @cached_property
    def lineage(self) -> Lineage | None:
        """Everything that the run's committed artifacts were made of; None where nothing is committed."""
        read = {item.fingerprint for head in self.heads.values() for item in head.inputs.values()}
        nodes: dict[str, Node] = {}
        for head in self.heads.values():
            if head.fingerprint not in read:
                lineage = lineage_of(self.run.store, head.stage, head.fingerprint)
                nodes = {node.fingerprint: node for node in lineage.nodes} | nodes
        return Lineage(inputs_first(nodes, nodes)) if nodes else None


def read_facts(run: Run) -> RunFacts:
    """Read all that a report of a run shows."""
    heads = committed_heads(run)
    records, history = run.attempts(), read_history(run)
    recorded = run.ends(max((record.number for record in records), default=0))
    ends = dict(enumerate(recorded, start=1)) | history.ends
    return RunFacts(
        run=run,
        heads=heads,
        scores={name: scores for name, head in heads.items() if (scores := _scores(Artifact(run.store, head)))},
        attempts=tuple((record, ends.get(record.number)) for record in records),
        history=history,
    )


def committed_heads(run: Run) -> dict[str, ManifestHead]:
    """The heads of the artifacts of a run that are committed, by step."""
    steps = run.request.steps
    found = run.store.each(lambda step: read_head(run.store, step.stage, step.fingerprint), steps)
    return {step.name: head for step, head in zip(steps, found, strict=True) if head is not None}


def changed_fields(step: FrozenStep) -> dict[str, str]:
    """Fields of a step's recipe that are not at their defaults, nested ones with dots: name to JSON text.

    All fields of a stage of a user's own, and of a plan that this code no longer reads.
    """
    if not step.import_path.startswith(SHIPPED_STAGES):
        return dict(flat_fields(step.recipe))
    try:
        recipe = load_stage(step.import_path).recipe_type.model_validate(step.recipe)
    except (ImportError, BindError, ValidationError):
        return dict(flat_fields(step.recipe))
    return dict(flat_fields(recipe.model_dump(mode="json", exclude_defaults=True)))


def _scores(artifact: Artifact) -> dict[str, float]:
    try:
        return evaluation_metrics(artifact)
    except StoreError:  # damaged: an audit names it, a report leaves it out
        return {}
