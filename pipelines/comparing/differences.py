"""What differs between two steps, and between two sides of a comparison, as plain values.

Works on heads and recipes. What is the same is not listed. Evaluations are compared by `scores.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pipelines.comparing.alignment import Pair, aligned
from pipelines.comparing.scores import (
    ComparedValue,
    NumberChange,
    ScoreDifference,
    UnpairedEvaluation,
    compared_scores,
)
from pipelines.comparing.sides import ComparedStep, Side
from pipelines.planning.recipe_diff import Change, field_changes
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import ManifestHead
from stages.store.store import Store

SCHEMA_VERSION = 1
"""Version of the JSON document: raised where a field changes its meaning or goes."""
Relation = Literal["same", "differs", "only_in_a", "only_in_b"]


class StepDifference(ComparedValue):
    """Two steps that were aligned, or a step of one side alone, and what differs."""

    step: str
    """Name of the step, on side a where both have it."""
    stage: str
    relation: Relation
    a: str = ""
    """The artifact on side a, such as `pack_rows/3f2a9c01d4e5`; '' where it has none."""
    b: str = ""
    renamed: str = ""
    """Name of the step on side b, where it is another."""
    same_content: bool = False
    """Whether both hold the same, byte by byte, though they are different artifacts."""
    recipe: tuple[Change, ...] = ()
    """Fields of the recipes."""
    code: tuple[Change, ...] = ()
    """Number of the stage, and the digest of the code of a user's own stage."""
    versions: tuple[Change, ...] = ()
    """Versions of packages that the artifact was made with."""
    sources: tuple[Change, ...] = ()
    """What was pinned of the sources that the step read: digest, files, bytes, places."""
    reads: tuple[Change, ...] = ()
    """Inputs that are other steps, or are read on one side alone, and the checkpoint that a training begins from."""
    reads_changed: tuple[str, ...] = ()
    """Steps that both read and that differ themselves."""
    counts: tuple[NumberChange, ...] = ()
    """Parts, bytes, items by verdict and reason, and numbers by source of a draw."""

    @property
    def differs_itself(self) -> bool:
        """Whether more differs than what is read."""
        return bool(self.recipe or self.code or self.sources or self.reads)


class Differences(ComparedValue):
    """Everything that differs between two sides."""

    steps: tuple[StepDifference, ...]
    scores: tuple[ScoreDifference, ...]
    """Evaluations that asked the same in the same way, one of each side."""
    unpaired: tuple[UnpairedEvaluation, ...] = ()
    """Evaluations that are compared with none of the other side."""
    settings: tuple[Change, ...] = ()
    """The values of `--set` that one of two runs has; none for artifacts."""

    def of(self, relation: Relation) -> tuple[StepDifference, ...]:
        """The steps of a relation."""
        return tuple(one for one in self.steps if one.relation == relation)


def compare(store: Store, a: Side, b: Side) -> Differences:
    """What differs. Reads the numbers of evaluations that asked the same, and nothing else."""
    differing = [_compared(pair, a, b) for pair in aligned(a.steps, b.steps)]
    set_a, set_b = (dict(text.partition("=")[::2] for text in side.settings) for side in (a, b))
    scores, unpaired = compared_scores(store, a, b)
    settings = field_changes(set_a, set_b)
    return Differences(steps=tuple(differing), scores=scores, unpaired=unpaired, settings=settings)


def document(a: Side, b: Side, found: Differences) -> dict[str, Any]:
    """The comparison as a JSON document; `docs/diff.md` describes it."""
    sides = {name: {"ref": one.ref, "name": one.name, "kind": one.kind} for name, one in (("a", a), ("b", b))}
    return {"version": SCHEMA_VERSION, **sides, **found.model_dump(mode="json")}


def _compared(pair: Pair, a: Side, b: Side) -> StepDifference:
    one, other = pair
    if one is None or other is None:
        return _alone(pair)
    if (one.stage, one.fingerprint) == (other.stage, other.fingerprint):
        return StepDifference(step=one.step, stage=one.stage, relation="same", a=one.short, b=other.short)
    reads, reads_changed = _reads(one, other, a, b)
    found = StepDifference(
        step=one.step,
        stage=one.stage,
        relation="differs",
        a=one.short,
        b=other.short,
        renamed=other.step if other.step != one.step else "",
        recipe=field_changes(one.recipe, other.recipe),
        code=field_changes({"number": one.number, **_code(one)}, {"number": other.number, **_code(other)}),
        reads=reads,
        reads_changed=reads_changed,
    )
    if one.head is None or other.head is None:
        return found
    heads = one.head, other.head
    return found.model_copy(
        update={
            "same_content": one.head.content == other.head.content,
            "versions": field_changes(*(head.versions for head in heads)),
            "sources": field_changes(*map(_sources, heads)),
            "counts": _number_changes(*map(_counts, heads)),
        }
    )


def _alone(pair: Pair) -> StepDifference:
    """A step of one side."""
    one, other = pair
    if one is not None:
        return StepDifference(step=one.step, stage=one.stage, relation="only_in_a", a=one.short)
    assert other is not None
    return StepDifference(step=other.step, stage=other.stage, relation="only_in_b", b=other.short)


def _code(step: ComparedStep) -> dict[str, str]:
    code = step.head.provenance.get("code") if step.head else None
    return {"code": code["sha256"][:SHOWN_DIGITS]} if code else {}


def _sources(head: ManifestHead) -> dict[str, Any]:
    found: Mapping[str, Mapping[str, Any]] = head.provenance.get("sources", {})
    return {name: dict(source) for name, source in found.items()}


def _reads(one: ComparedStep, other: ComparedStep, a: Side, b: Side) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    """Inputs of which another step is read, and steps that both read and that differ."""
    before = {name: a.step_of(made) for name, made in one.reads.items()}
    after = {name: b.step_of(made) for name, made in other.reads.items()}
    before |= {"begins": one.begins} if one.begins else {}
    after |= {"begins": other.begins} if other.begins else {}
    same_name = (name for name in one.reads if before.get(name) == after.get(name))
    changed = (before[name] for name in same_name if one.reads[name] != other.reads[name])
    return field_changes(before, after), tuple(dict.fromkeys(changed))


def _counts(head: ManifestHead) -> dict[str, float]:
    counts: dict[str, float] = {"bytes": head.size_bytes, "kept": head.items.kept}
    counts |= {f"parts of {phase.phase}": phase.num_parts for phase in head.phases}
    counts |= {f"dropped: {reason}": number for reason, number in head.items.dropped.items()}
    counts |= {f"failed: {reason}": number for reason, number in head.items.failed.items()}
    for source, numbers in head.sources.items():
        counts |= {f"{source}: {name.replace('_', ' ')}": number for name, number in numbers.items()}
    for rule, applied in head.rules.items():
        counts |= {f"rule {rule}: {how}": number for how, number in applied.items()}
    for source, columns in head.carried.items():
        for column, values in columns.items():
            counts |= {f"{source}: {column} {value or 'not stated'}": number for value, number in values.items()}
    if head.at_step is not None:
        counts |= {"optimizer steps": head.at_step, "rows left out": head.num_skipped_rows}
        counts |= {"steps left out": head.num_skipped_steps}
    return counts


def _number_changes(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[NumberChange, ...]:
    names = [*before, *(name for name in after if name not in before)]
    return tuple(
        NumberChange(name=name, a=before.get(name), b=after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    )
