"""Which evaluations of two sides are compared with each other, and their numbers.

Two are compared where they asked the same questions, looked up the same pairs, and have the same recipe: of others the
numbers say nothing about the models. Each is compared with one other, or with none; those with none are listed, with
what sets them apart from the nearest of the other side.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from pipelines.comparing.alignment import aligned
from pipelines.comparing.sides import EVALUATING_STAGE, ComparedStep, Side
from pipelines.lineage.contents import evaluation_metrics
from pipelines.planning.recipe_diff import Change, field_changes
from stages.artifacts.artifact import Artifact
from stages.artifacts.fingerprint import SHOWN_DIGITS, conduct_defaults
from stages.artifacts.records import InputRecord
from stages.store.store import Store

ASKED_INPUTS = ("questions", "pairs")
"""Inputs of an evaluation that say what was asked."""
Scored: TypeAlias = tuple[ComparedStep, ComparedStep]
"""An evaluation of side A, and that of side B which it is compared with."""


class ComparedValue(BaseModel):
    """A plain value of a comparison."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NumberChange(ComparedValue):
    """A number that differs; None on the side that does not have it."""

    name: str
    a: float | None
    b: float | None


class ScoreDifference(ComparedValue):
    """Two evaluations that asked the same in the same way, and the numbers of both."""

    questions: str
    """What was asked: stage and shown digits of the questions, or the stage that evaluates where it names none."""
    pairs: str = ""
    """Stage and shown digits of the pairs that were looked up; '' for none."""
    a: str
    b: str
    numbers: tuple[NumberChange, ...]
    """All numbers that one of the two has, the same ones as well."""


class UnpairedEvaluation(ComparedValue):
    """An evaluation of one side that is compared with none of the other."""

    side: Literal["a", "b"]
    evaluation: str
    """The artifact, such as `evaluate/3f2a9c01d4e5`."""
    step: str
    questions: str
    pairs: str = ""
    nearest: str = ""
    """The evaluation of the other side on the same questions whose recipe differs least; '' where there is none."""
    changes: tuple[Change, ...] = ()
    """What differs between it and the nearest, pairs or fields of the recipe, A before B. None where several of one
    side ask the same, and nothing says which of them is meant."""


def compared_scores(
    store: Store, a: Side, b: Side
) -> tuple[tuple[ScoreDifference, ...], tuple[UnpairedEvaluation, ...]]:
    """The evaluations that are compared, and the others. Reads the metrics of the former.

    Time grows with the product of the evaluations of both sides that asked the same, a few of each.
    """
    found = _scored(a.evaluations, b.evaluations)
    known = {step.fingerprint for pair in found for step in pair}
    unpaired = [_unpaired("a", step, b.evaluations) for step in a.evaluations if step.fingerprint not in known]
    unpaired += [_unpaired("b", step, a.evaluations) for step in b.evaluations if step.fingerprint not in known]
    scores = [_numbers(store, *pair) for pair in found if pair[0].fingerprint != pair[1].fingerprint]
    return tuple(scores), tuple(unpaired)


def _scored(a: Sequence[ComparedStep], b: Sequence[ComparedStep]) -> list[Scored]:
    """Evaluations that asked the same, one of each side.

    Those of one checkpoint go first, then those of one number of the stage, then others; each as steps are aligned.
    """
    left, right, found = list(a), list(b), list[Scored]()
    keys: tuple[Callable[[ComparedStep], object], ...] = (
        lambda step: (_asked(step), step.reads.get("checkpoint")),
        lambda step: (_asked(step), step.number),
        _asked,
    )
    for key in keys:
        for ours, theirs in _groups(key, left, right):
            for one, other in aligned(ours, theirs):
                if one is not None and other is not None:
                    found.append((one, other))
                    left.remove(one)
                    right.remove(other)
    order = {id(step): number for number, step in enumerate(a)}
    return sorted(found, key=lambda pair: order[id(pair[0])])


def _groups(
    key: Callable[[ComparedStep], object], a: Iterable[ComparedStep], b: Iterable[ComparedStep]
) -> list[tuple[list[ComparedStep], list[ComparedStep]]]:
    groups: dict[object, tuple[list[ComparedStep], list[ComparedStep]]] = defaultdict(lambda: ([], []))
    for side, steps in enumerate((a, b)):
        for step in steps:
            groups[key(step)][side].append(step)
    return list(groups.values())


def _asked(step: ComparedStep) -> tuple[str, ...]:
    """What two evaluations have in common that are compared."""
    return (step.stage, *(step.reads.get(name, "") for name in ASKED_INPUTS), json.dumps(_rule(step), sort_keys=True))


def _rule(step: ComparedStep) -> dict[str, Any]:
    """The fields of the recipe that take part in identity; those that an evaluation of before lacks, at their default.

    Of a user's own stage, all fields.
    """
    if step.stage != EVALUATING_STAGE:
        return dict(step.recipe)
    from stages.evaluate import EvaluateRecipe  # here: every command would begin a tenth of a second later

    recipe = EvaluateRecipe()
    fields = recipe.model_dump(mode="json") | dict(step.recipe)
    return {name: value for name, value in fields.items() if name not in conduct_defaults(recipe)}


def _unpaired(side: Literal["a", "b"], step: ComparedStep, others: Iterable[ComparedStep]) -> UnpairedEvaluation:
    on_same = [one for one in others if (one.stage, _read(one, "questions")) == (step.stage, _read(step, "questions"))]
    changes = [_changes(step, one) if side == "a" else _changes(one, step) for one in on_same]
    nearest = min(range(len(on_same)), key=lambda number: len(changes[number]), default=None)
    return UnpairedEvaluation(
        side=side,
        evaluation=step.short,
        step=step.step,
        questions=_questions(step),
        pairs=_shown(_read(step, "pairs")),
        nearest="" if nearest is None else on_same[nearest].short,
        changes=() if nearest is None else changes[nearest],
    )


def _changes(a: ComparedStep, b: ComparedStep) -> tuple[Change, ...]:
    shown = [{"pairs": found} if (found := _shown(_read(one, "pairs"))) else {} for one in (a, b)]
    return field_changes(shown[0], shown[1]) + field_changes(_rule(a), _rule(b))


def _numbers(store: Store, a: ComparedStep, b: ComparedStep) -> ScoreDifference:
    numbers_a, numbers_b = (
        {} if step.head is None else evaluation_metrics(Artifact(store, step.head)) for step in (a, b)
    )
    names = [*numbers_a, *(name for name in numbers_b if name not in numbers_a)]
    return ScoreDifference(
        questions=_questions(a),
        pairs=_shown(_read(a, "pairs")),
        a=a.short,
        b=b.short,
        numbers=tuple(NumberChange(name=name, a=numbers_a.get(name), b=numbers_b.get(name)) for name in names),
    )


def _questions(step: ComparedStep) -> str:
    return _shown(_read(step, "questions")) or step.stage


def _read(step: ComparedStep, name: str) -> InputRecord | None:
    return None if step.head is None else step.head.inputs.get(name)


def _shown(item: InputRecord | None) -> str:
    return f"{item.stage}/{item.fingerprint[:SHOWN_DIGITS]}" if item else ""
