"""Under which takedowns a step is made: the digests of lists that take part in its fingerprint.

A step that brings samples in has a field `taken_down` for them. What was committed before a takedown is used for as
long as it holds nothing of it, under the name that it has. What holds something of it is made again, under all
takedowns: its parts are taken over but for those that hold something. What was never made is made under all of them,
so that nothing of them is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pipelines.takedowns.held import held_parts, keep_held_parts
from pipelines.takedowns.records import takedowns
from stages.artifacts.head import ManifestHead, read_head
from stages.artifacts.taken_over import EXTENDS_INPUT
from stages.artifacts.taken_over import TAKEN_DOWN_FIELD as FIELD
from stages.contract import Recipe, Step
from stages.store.errors import TornRecordError
from stages.store.store import Store


@dataclass
class Takedowns:
    """The takedowns of a store, and the steps that they change."""

    store: Store
    holding: dict[str, ManifestHead] = field(default_factory=dict)
    """Step that is made again to the artifact that it takes parts over from."""

    @cached_property
    def lists(self) -> tuple[str, ...]:
        """The digests of all lists, in the order in which they were recorded."""
        return tuple(dict.fromkeys(one.list_sha256 for one in takedowns(self.store)))

    def named(
        self, step: Step[Any], inputs: Mapping[str, str] | None, earlier: Mapping[str, Sequence[str]]
    ) -> tuple[Step[Any], str]:
        """The step under those takedowns that count for it, and the fingerprint of what it made before them and takes
        parts over from; '' where it takes none.

        `inputs` are the fingerprints of its inputs, None where they have none yet; `earlier`, for each of them, those
        of what it was made again of.
        """
        if FIELD not in type(step.recipe).model_fields or not self.lists:
            return step, ""
        if inputs is None:
            return _under(step, self.lists), ""
        for length in range(len(self.lists), -1, -1):
            before = _under(step, self.lists[:length])
            head = self._committed(before, inputs)
            if head is not None and not self._holds(head, self.lists[length:]):
                return before, ""
            head = head or next(self._earlier(before, inputs, earlier), None)
            if head is not None:
                self.holding[step.name] = head
                return _under(step, self.lists), head.fingerprint
        return _under(step, self.lists), ""

    def _holds(self, head: ManifestHead, lists: Sequence[str]) -> bool:
        return any(held_parts(self.store, one, head).parts for one in lists)

    def _committed(self, step: Step[Any], inputs: Mapping[str, str]) -> ManifestHead | None:
        """What the stage made of these inputs, under its number or one that it accepts."""
        for number in (step.stage.number, *step.stage.accepts):
            fingerprint = step.stage.fingerprint(step.recipe, inputs, number, fork=step.fork)
            try:
                head = read_head(self.store, step.stage.name, fingerprint)
            except TornRecordError:
                head = None
            if head is not None:
                return head
        return None

    def _earlier(
        self, step: Step[Any], inputs: Mapping[str, str], earlier: Mapping[str, Sequence[str]]
    ) -> Iterator[ManifestHead]:
        """What the stage made of earlier inputs: a retry of a download that is now made again.

        What the step extends is no such thing, though a retry of the same recipe has made that as well: its parts are
        taken over anyway, and the step has its own rows to fetch.
        """
        extended = {inputs.get(EXTENDS_INPUT), *earlier.get(EXTENDS_INPUT, ())}
        for number in range(max(map(len, earlier.values()), default=0)):
            before = {name: names[min(number, len(names) - 1)] for name, names in earlier.items() if names}
            head = self._committed(step, {**inputs, **before})
            if head is not None and head.fingerprint not in extended:
                yield head


def lists_before(recipe: Mapping[str, Any]) -> tuple[str, ...]:
    """The lists under which something was made, by its recipe as a manifest or a plan has it."""
    return tuple(recipe.get(FIELD) or ())


def made_before(store: Store, stage: str, remade_of: str) -> ManifestHead | None:
    """What a step made before something of it was taken down, of which it takes parts over; None for another step.

    `remade_of` is that of the frozen step.
    """
    try:
        return read_head(store, stage, remade_of) if remade_of else None
    except TornRecordError:
        return None


def lists_since(head: ManifestHead, recipe: Mapping[str, Any]) -> list[str]:
    """The lists under which a step is made, and under which what it made before was not."""
    return [one for one in lists_before(recipe) if one not in lists_before(head.recipe)]


def num_taken_down(store: Store, head: ManifestHead, recipe: Mapping[str, Any]) -> int:
    """Samples that an artifact holds of the takedowns since; one that several name counts for each."""
    return sum(held_parts(store, one, head).num_samples for one in lists_since(head, recipe))


def keep_held(store: Store, stage: str, recipe: Mapping[str, Any], remade_of: str) -> None:
    """Put on record what the artifact holds that a step takes parts over from; nothing for a step that takes none."""
    head = made_before(store, stage, remade_of)
    if head is not None:
        for one in lists_since(head, recipe):
            keep_held_parts(store, one, head)


def _under(step: Step[Any], lists: Sequence[str]) -> Step[Any]:
    recipe: Recipe = step.recipe.model_copy(update={FIELD: tuple(lists)})
    return replace(step, recipe=recipe)
