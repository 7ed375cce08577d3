"""Tells by lineage whether a checkpoint was trained on the samples that its questions were made from.

A training draw may hold a question's pictures or texts where one of its sources and the questions come from the same
samples. A draw that was given the questions, or what they were read from, to be held out has none of them:
`mix_samples` leaves out what is equal by picture digest or by text. Nor has a source that `dedup_pairs` or
`dedup_texts` compared with them. Reads heads of artifacts alone, some dozens of a few KB, however many rows were
trained on: no sample is compared again. What was trained outside of this store is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar, get_args

from stages.artifacts.ancestry import ancestry
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.kinds import Checkpoint, Conversations, Draw, KeptPairs, RawPairs
from stages.artifacts.learned import KEPT_OUT_INPUTS, Ancestor, learned_from, slot_of
from stages.contract import StageError
from stages.formats.sample_sources import SampleArtifact
from stages.store.errors import StoreError

AnyAncestor = TypeVar("AnyAncestor", bound=Ancestor)
MENDED_BY: Final = (
    "Give them to mix_samples as `heldout` and train again, ask about others, or set allow_trained_on=true"
)
SAMPLES: Final = frozenset(kind.kind for kind in get_args(SampleArtifact))
"""Kinds of artifacts that hold samples."""


def refuse_trained_on(checkpoint: Checkpoint, questions: Conversations | KeptPairs | RawPairs) -> bool:
    """Raise `StageError` where a draw for the checkpoint's training may hold what the questions were made from, or the
    pairs that are looked up.

    Returns whether it was checked: a lineage of which heads are missing tells nothing, and refuses nothing.
    """
    try:
        heads = {head.fingerprint: head for one in (checkpoint, questions) for head in ancestry(one)}
    except StoreError:
        return False
    if (found := seen_in_training(heads, checkpoint.fingerprint, questions.fingerprint)) is not None:
        drawn, source = (f"{one.stage}/{one.fingerprint[:SHOWN_DIGITS]}" for one in found)
        raise StageError(
            f"{checkpoint!r} was trained on what {questions!r} asks about: {drawn} draws from {source}, which the "
            f"questions come from, and does not hold them out. {MENDED_BY}"
        )
    return True


def seen_in_training(
    heads: Mapping[str, AnyAncestor], checkpoint: str, questions: str
) -> tuple[AnyAncestor, AnyAncestor] | None:
    """The first draw that a checkpoint learned from and that may hold what the questions were made from, and of what.

    `heads` holds the ancestors of both by fingerprint. None where no draw does, or all of them hold the questions out.
    """
    asked = samples_of(heads, questions)
    for fingerprint in sorted(learned_from(heads.values(), checkpoint)):
        draw = heads[fingerprint]
        shared = shared_samples(draw, asked, heads) if draw.kind == Draw.kind else None
        if shared is not None:
            return draw, shared
    return None


def samples_of(heads: Mapping[str, Ancestor], fingerprint: str) -> frozenset[str]:
    """Fingerprints of the artifacts with samples that an artifact holds something of, its own among them."""
    return frozenset(one for one in learned_from(heads.values(), fingerprint) if heads[one].kind in SAMPLES)


def shared_samples(draw: AnyAncestor, asked: frozenset[str], heads: Mapping[str, AnyAncestor]) -> AnyAncestor | None:
    """The first artifact that a draw draws from and that the questions come from; None where it holds them out."""
    slots = {name: item.fingerprint for name, item in draw.inputs.items()}
    held_out = {one for name, one in slots.items() if slot_of(name) == "heldout"}
    if held_out & asked:
        return None
    for name, source in sorted(slots.items()):
        if slot_of(name) == "sources" and not _is_compared(heads, source, asked):
            shared = samples_of(heads, source) & asked
            if shared:
                return heads[min(shared)]
    return None


def _is_compared(heads: Mapping[str, Ancestor], source: str, asked: frozenset[str]) -> bool:
    """Whether a source was compared with the questions, and what is like them left out."""
    return any(
        item.fingerprint in asked
        for one in samples_of(heads, source)
        for name, item in heads[one].inputs.items()
        if (heads[one].stage, slot_of(name)) in KEPT_OUT_INPUTS
    )
