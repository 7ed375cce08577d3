"""Which ancestors of a model it learned from, and which it was only examined on, measured on or kept away from.

Owns what it means that an input is read: of most inputs what is made holds something, of those named here nothing. An
input of a user's own stage counts as learned from, unless the stage declares it in `conduct_inputs`.

Works on heads, and on steps of a plan that are not made yet: time and memory grow with the artifacts of a lineage, some
dozens, not with their rows or parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final, Protocol

from stages.artifacts.head import ManifestHead
from stages.artifacts.manifest import CONDUCT_INPUTS


class Named(Protocol):
    """An artifact that is read, or that a planned step will read."""

    @property
    def fingerprint(self) -> str:
        """Its fingerprint."""


class Ancestor(Named, Protocol):
    """What is asked of an artifact of a lineage: the head of a committed one has it, and a planned one too."""

    @property
    def stage(self) -> str:
        """Name of the stage that makes it."""

    @property
    def kind(self) -> str:
        """Its kind, such as `Draw`."""

    @property
    def inputs(self) -> Mapping[str, Named]:
        """Input name to what is read."""

    @property
    def identity_inputs(self) -> Mapping[str, Named]:
        """The inputs that it is made of."""


class Use(StrEnum):
    """Why an artifact was read that nothing was learned from."""

    EXAMINED = "examined on while training"
    """Its rows or questions told how a training was doing."""
    MEASURED = "measured on"
    """Its questions were asked by an evaluation."""
    KEPT_OUT = "kept out of the training data"
    """What is equal to its samples was left out."""


KEPT_OUT_INPUTS: Final = frozenset(
    {("mix_samples", "heldout"), ("dedup_pairs", "benchmarks"), ("dedup_texts", "benchmarks")}
)
"""Stage and input of those whose samples are kept out of what is made."""
COMPARED_INPUTS: Final = frozenset(
    {("dedup_pairs", "earlier"), ("dedup_texts", "earlier"), ("mix_samples", "llm"), ("pack_rows", "llm")}
)
"""Stage and input of those that samples are compared with, or whose tokenizer alone is used."""
CITED_INPUTS: Final = frozenset({("export", "evaluations")})
"""Stage and input of those whose results are stated of what is made: a model card has the scores of evaluations."""
NOT_HELD_INPUTS: Final = KEPT_OUT_INPUTS | COMPARED_INPUTS | CITED_INPUTS
"""Stage and input of all those of which what is made holds nothing."""


def learned_from(chain: Iterable[Ancestor], model: str) -> frozenset[str]:
    """Fingerprints of what a model holds something of, its own among them.

    `chain` holds all its ancestors, `model` is the fingerprint of the one that is asked about.
    """
    return _reachable({head.fingerprint: head for head in chain}, [model])


def used_otherwise(
    chain: Sequence[ManifestHead], model: str, evaluations: Iterable[ManifestHead] = ()
) -> dict[str, tuple[Use, ...]]:
    """Fingerprint to its uses, for all that lies behind what a model was examined on, measured on or kept away from.

    `chain` holds the heads of all ancestors of the model and of `evaluations`, which measured it. What is named here
    may be learned from as well: compare with `learned_from`.
    """
    heads = {head.fingerprint: head for head in chain}
    roots: dict[Use, list[str]] = {use: [] for use in Use}
    for fingerprint in _reachable(heads, [model]):
        head = heads[fingerprint]
        outside = head.provenance.get(CONDUCT_INPUTS, ())
        for name, item in head.inputs.items():
            if name in outside:
                roots[Use.EXAMINED].append(item.fingerprint)
            elif (head.stage, slot_of(name)) in KEPT_OUT_INPUTS:
                roots[Use.KEPT_OUT].append(item.fingerprint)
    for evaluation in evaluations:
        roots[Use.MEASURED] += [item.fingerprint for name, item in evaluation.inputs.items() if name != "checkpoint"]
    found = {use: _reachable(heads, fingerprints) for use, fingerprints in roots.items()}
    return {
        head.fingerprint: uses
        for head in chain
        if (uses := tuple(use for use, reached in found.items() if head.fingerprint in reached))
    }


def _reachable(heads: Mapping[str, Ancestor], roots: Iterable[str]) -> frozenset[str]:
    """The roots and all of which they hold something."""
    found, waiting = set[str](), list(roots)
    while waiting:
        fingerprint = waiting.pop()
        if fingerprint not in found:
            found.add(fingerprint)
            head = heads[fingerprint]
            named = head.identity_inputs.items()
            held = (item for name, item in named if (head.stage, slot_of(name)) not in NOT_HELD_INPUTS)
            waiting += [item.fingerprint for item in held]
    return frozenset(found)


def slot_of(name: str) -> str:
    """The parameter of the stage function that an input was given for: `sources` of `sources.pairs`."""
    return name.split(".", 1)[0]
