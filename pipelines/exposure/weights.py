"""What went into weights: trainings, weights that came from elsewhere, and models that shaped their data.

Owns the walk from weights to the weights that they began from: by forks, merges, cut-out pre-Buffers, averages and
imports. An average over steps, and a moving average, hold what the last of their steps has seen, since no later one is
among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pipelines.exposure.holds import WEIGHTS, Holds, held_inputs, named, short_of
from pipelines.exposure.trainings import KnownTraining
from pipelines.lineage.graph import Node
from stages.artifacts import kinds
from stages.artifacts.learned import slot_of

CAPTIONER: Final = "captioner"
"""Input of a stage that writes captions: the weights that write them."""
CAPTIONING_STAGE: Final = "caption_pairs"
"""The stage that has captions written by a model behind an endpoint."""
SCORING_STAGE: Final = "score_pairs"
"""The stage that scores pairs by models from outside."""
USERS: Final = frozenset({*WEIGHTS, kinds.Evaluation.kind})
"""Kinds that hold weights, or what weights said."""


@dataclass(frozen=True)
class NotKnown:
    """Something of which the store does not know what it has seen."""

    what: str
    """The artifact, in words."""
    short: str
    """Stage and shown digits of its fingerprint; '' for what is no artifact."""
    why: str
    """What is not known of it, as a clause."""

    @property
    def document(self) -> dict[str, str]:
        """As JSON has it."""
        return {"what": self.what, "artifact": self.short, "why": self.why}


@dataclass(frozen=True)
class Behind:
    """What lies behind weights, their own training among it."""

    trainings: tuple[KnownTraining, ...]
    """Trainings whose steps changed them, inputs first."""
    not_known: tuple[NotKnown, ...]
    """Weights among them that came from elsewhere, or from stages that record no steps."""
    captioners: tuple[tuple[Node, Node], ...]
    """Weights that wrote captions which these learned from, with the artifact that holds the captions."""
    doubts: tuple[str, ...]
    """What could not be read, so that nothing certain can be said of them."""


def behind(holds: Holds, short: str, trainings: Mapping[str, KnownTraining]) -> Behind:
    """What lies behind an artifact that is made of weights, or behind a training that is not finished."""
    order = list(_weights_first(holds, short, trainings))
    found = [trainings[one] for one in order if one in trainings]
    data = holds.behind([short, *_inputs_of(short, trainings)])
    unknown = [one for weights in order if weights not in trainings for one in _not_known(holds, weights)]
    for one in data:
        unknown += _shaped_by(holds.nodes.get(one))
    return Behind(
        trainings=tuple(found),
        not_known=tuple(dict.fromkeys(unknown)),
        captioners=tuple(_captioners(holds, data)),
        doubts=tuple(holds.doubts.of([*order, *data])),
    )


def begins_from(holds: Holds, short: str, trainings: Mapping[str, KnownTraining]) -> list[str]:
    """The weights that an artifact is made of, or that a training begins from, by their short names."""
    node = holds.nodes.get(short)
    if short in trainings:
        inputs = trainings[short].inputs
    elif node is not None and node.head is not None and node.kind in USERS:
        inputs = held_inputs(node.head)
    else:
        return []
    names = (short_of(item) for item in inputs.values())
    return [one for one in names if one in holds.nodes and holds.nodes[one].kind in WEIGHTS]


def _weights_first(holds: Holds, short: str, trainings: Mapping[str, KnownTraining]) -> Iterator[str]:
    """The weights behind an artifact and itself, each after those that it began from."""
    done, waiting = set[str](), [(short, False)]
    while waiting:
        one, is_left = waiting.pop()
        if is_left:
            yield one
        elif one not in done:
            done.add(one)
            waiting.append((one, True))
            waiting += [(before, False) for before in begins_from(holds, one, trainings)]


def _inputs_of(short: str, trainings: Mapping[str, KnownTraining]) -> list[str]:
    """What a training learned from, since one that is not finished has no head to say it."""
    if short not in trainings:
        return []
    training = trainings[short]
    examined = {*training.examined_on}
    read = [short_of(item) for name, item in training.inputs.items() if name not in examined]
    return [*read, *(short_of(stretch.rows) for stretch in training.course)]


def _not_known(holds: Holds, short: str) -> Iterator[NotKnown]:
    """What is not known of weights that no training over packed rows made."""
    node = holds.nodes[short]
    if node.head is None or node.kind not in WEIGHTS:
        return
    inputs = [holds.nodes.get(short_of(item)) for item in held_inputs(node.head).values()]
    if any(one is not None and one.kind not in WEIGHTS for one in inputs):
        why = "it learned from artifacts of this store in a stage that records no steps: how often is not known"
        yield NotKnown(named(node.head), short, why)
    elif not inputs:
        places = ", ".join(sorted({str(source.get("place", name)) for name, source in node.outside.items()}))
        came = f"it came from {places}" if places else "it came with no training data"
        yield NotKnown(named(node.head), short, f"{came}: what it was trained on before is not in this store")


def _shaped_by(node: Node | None) -> Iterator[NotKnown]:
    """Models from outside that wrote or chose what was learned from."""
    if node is None or node.head is None:
        return
    if node.head.stage == CAPTIONING_STAGE:
        why = "its captions were written by a model behind an endpoint: what that has seen is not known"
        yield NotKnown(named(node.head), node.short, why)
    elif node.head.stage == SCORING_STAGE:
        why = "its pairs were scored with models from outside: what these have seen is not known"
        yield NotKnown(named(node.head), node.short, why)


def _captioners(holds: Holds, shorts: list[str]) -> Iterator[tuple[Node, Node]]:
    for node in (holds.nodes[one] for one in shorts if one in holds.nodes):
        for name, item in node.head.inputs.items() if node.head is not None else ():
            if slot_of(name) == CAPTIONER and short_of(item) in holds.nodes:
                yield holds.nodes[short_of(item)], node
