"""How often weights saw what is asked about: trained on, examined on, measured on, captioned; and what is not known.

The door of this room for Python: `exposure_to` answers for any number of samples. 0 is claimed only where it is known:
`Exposure.is_known` says whether all that lies behind the weights could be read and is in the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pipelines.exposure.asked import SAMPLE_TABLES, Beginnings, of_ids
from pipelines.exposure.holds import Doubts, Holds, named, same_weights, short_of, spread
from pipelines.exposure.packed_documents import num_held
from pipelines.exposure.readings import Readings, StepReads, read_all
from pipelines.exposure.trainings import KnownTraining, trainings_of
from pipelines.exposure.wanted import Hold, Wanted, ids_of, of_any
from pipelines.exposure.weights import CAPTIONER, Behind, NotKnown, behind
from pipelines.lineage.graph import Node, all_nodes
from pipelines.lineage.table_rows import part_tables, tables_of
from stages.artifacts import kinds
from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import Rows
from stages.artifacts.learned import slot_of
from stages.artifacts.records import InputRecord
from stages.store.errors import StoreError
from stages.store.store import Store

MODEL_INPUT: Final = "checkpoint"
"""Input of an evaluation and of an export: the weights that it asks, or takes along."""


@dataclass(frozen=True)
class TrainedOn:
    """What the steps of one training behind the weights read."""

    training: KnownTraining
    reads: StepReads
    """The steps that read it, up to the last that is in the weights."""
    num_samples: int | None
    """How many different samples; None where whole sources or artifacts are asked about."""

    @property
    def document(self) -> dict[str, Any]:
        """As JSON has it; steps are counted from 1, and given as first and last of each run of consecutive ones."""
        training = self.training
        return {
            "step": training.step,
            "artifact": training.short,
            "fingerprint": training.fingerprint,
            "num_steps": training.num_taken,
            "times": self.reads.num_documents,
            "num_samples": self.num_samples,
            "num_tokens": self.reads.num_tokens,
            "num_rows": self.reads.num_rows,
            "num_holding_steps": len(self.reads.steps),
            "steps": self.reads.stretches,
        }


@dataclass(frozen=True)
class SeenOtherwise:
    """Samples that weights had in front of them without learning from them."""

    how: str
    """`examined`, `measured` or `captioned`."""
    by: str
    """The training, evaluation or captions, in words."""
    artifact: str
    """Short name of what was read."""
    name: str
    """Name of the input."""
    num_documents: int
    """Documents or rows of its table that are asked about."""
    remark: str = ""
    """What is to be said about that, as a clause; '' for nothing."""

    @property
    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "how": self.how,
            "by": self.by,
            "artifact": self.artifact,
            "input": self.name,
            "num_documents": self.num_documents,
            "remark": self.remark,
        }


@dataclass(frozen=True)
class Exposure:
    """How often weights saw what is asked about."""

    short: str
    """The weights, by stage and shown digits of their fingerprint."""
    trained_on: tuple[TrainedOn, ...]
    """Each training behind them, inputs first, also those that read none of it."""
    otherwise: tuple[SeenOtherwise, ...]
    """Where they had it in front of them without learning from it."""
    captions: tuple[tuple[str, str, int], ...]
    """Captions that they learned from, the weights that wrote these, and how often those were trained on it."""
    not_known: tuple[NotKnown, ...]
    """What the store does not know of what lies behind them."""
    doubts: tuple[str, ...]
    """What could not be read, so that more may have been seen."""
    not_compared: tuple[str, ...]
    """Rows whose index from samples to rows was believed without comparing its digest, being long."""
    times_by_sample: Mapping[bytes, int] | None
    """How often each sample was trained on, of those that were; None where whole sources are asked about."""

    @property
    def times(self) -> int:
        """How often the trainings that the store knows read it: documents, each time that a step read one."""
        return sum(one.reads.num_documents for one in self.trained_on)

    @property
    def is_known(self) -> bool:
        """Whether `times` is all that there is: nothing behind the weights is damaged, missing or from elsewhere."""
        return not self.not_known and not self.doubts

    @property
    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "times": self.times,
            "is_known": self.is_known,
            "is_damaged": bool(self.doubts),
            "num_samples": None if self.times_by_sample is None else len(self.times_by_sample),
            "trained_on": [one.document for one in self.trained_on],
            "otherwise": [one.document for one in self.otherwise],
            "captions": [{"captions": captions, "by": by, "times": times} for captions, by, times in self.captions],
            "not_known": [one.document for one in self.not_known],
            "unreadable": list(self.doubts),
            "not_compared": list(self.not_compared),
        }


@dataclass
class Weighed:
    """A store, looked at for what is asked about: which trainings read it, for any weights in it."""

    holds: Holds
    trainings: dict[str, KnownTraining]
    readings: Readings
    doubts: Doubts
    _held: dict[tuple[str, int], int] = field(default_factory=dict)

    def exposure(self, short: str) -> Exposure:
        """How often the weights of one artifact saw it."""
        found = behind(self.holds, short, self.trainings)
        trained_on = tuple(map(self._trained_on, found.trainings))
        rows = {short_of(one.rows) for training in found.trainings for one in training.course}
        otherwise = tuple(self._otherwise(short, found))
        return Exposure(
            short=short,
            trained_on=trained_on,
            otherwise=otherwise,
            captions=tuple(self._captions(found)),
            not_known=found.not_known,
            doubts=tuple(self.doubts_of(short)),
            not_compared=tuple(one for one in self.readings.not_compared if one in rows),
            times_by_sample=self._times_by_sample(found),
        )

    def doubts_of(self, short: str) -> list[str]:
        """What could not be read of all that weights, and the trainings behind them, were made of."""
        names = [short]
        for training in behind(self.holds, short, self.trainings).trainings:
            examined = {*training.examined_on}
            names += [short_of(item) for name, item in training.inputs.items() if name not in examined]
            names += [training.short, *(short_of(stretch.rows) for stretch in training.course)]
        return self.doubts.of(self.holds.behind(names))

    def _trained_on(self, training: KnownTraining) -> TrainedOn:
        tally = self.readings.tallies.get(training.short)
        if tally is None:
            return TrainedOn(training, StepReads.none(), 0)
        return TrainedOn(training, tally.reads.until(training.num_taken), tally.num_samples)

    def _times_by_sample(self, found: Behind) -> dict[bytes, int] | None:
        times: dict[bytes, int] = {}
        for training in found.trainings:
            tally = self.readings.tallies.get(training.short)
            own = {} if tally is None else tally.times
            if own is None:
                return None
            for sample, number in own.items():
                times[sample] = times.get(sample, 0) + number
        return times

    def _captions(self, found: Behind) -> Iterator[tuple[str, str, int]]:
        for writer, captions in found.captioners:
            if writer.head is not None and captions.head is not None:
                trainings = behind(self.holds, writer.short, self.trainings).trainings
                times = sum(self._trained_on(training).reads.num_documents for training in trainings)
                yield named(captions.head), named(writer.head), times

    def _otherwise(self, short: str, found: Behind) -> Iterator[SeenOtherwise]:
        """Where the weights had it in front of them: in examinations, evaluations, and where they wrote captions."""
        for training in found.trainings:
            for name, item in training.examined_on.items():
                first = int(training.recipe.get("num_heldout_rows", 0)) if slot_of(name) == "heldout_rows" else 0
                asked = f"at most {training.recipe.get('num_answers', 0)} of all its questions were asked each time"
                remark = f"the first {first:,} rows, at each examination" if first else asked
                by = f"{training.step} ({training.short})"
                yield from self._held_in("examined", by, name, item, first=first, remark=remark)
        same = {short, *same_weights(self.holds.nodes, short)}
        for user in self.holds.nodes.values():
            read = {} if user.head is None else user.head.inputs
            if user.head is None or not any(short_of(item) in same for item in read.values()):
                continue
            is_captioned = any(slot_of(name) == CAPTIONER and short_of(item) in same for name, item in read.items())
            if user.kind == kinds.Evaluation.kind or is_captioned:
                how = "captioned" if is_captioned else "measured"
                others = {name: item for name, item in read.items() if short_of(item) not in same}
                for name, item in others.items():
                    yield from self._held_in(how, named(user.head), name, item)

    def _held_in(
        self, how: str, by: str, name: str, item: InputRecord, *, first: int = 0, remark: str = ""
    ) -> Iterator[SeenOtherwise]:
        """The samples that an input holds, if it holds any. What cannot be read is a doubt about it."""
        short = short_of(item)
        hold, node = self.holds.holds.get(short), self.holds.nodes.get(short)
        if hold and node is not None and node.head is not None:
            try:
                if (short, first) not in self._held:
                    self._held[short, first] = _num_held(Artifact(node.store, node.head), hold, first, self.holds)
            except StoreError as error:
                self.doubts.add(short, error)
                return
            if number := self._held[short, first]:
                yield SeenOtherwise(how, by, short, name, number, remark)


def weigh(store: Store, nodes: Iterable[Node], beginnings: Beginnings, doubts: Doubts) -> Weighed:
    """What all trainings among these artifacts read of what begins so."""
    known = list(nodes)
    trainings = {training.short: training for training in trainings_of(store, known, doubts)}
    holds = spread(known, beginnings.holds, doubts, beginnings.row_parts)
    return Weighed(holds, trainings, read_all(holds, [*trainings.values()], doubts), doubts)


def exposure_to(store: Store, short: str, sample_ids: Iterable[bytes]) -> Exposure:
    """How often the weights of an artifact saw these samples, and conversations about them. Any number of them.

    `short` is the stage and the first digits of the fingerprint, such as `tune_end_to_end/3f2a9c01d4e5`.
    """
    nodes, doubts = {node.short: node for node in all_nodes(store)}, Doubts()
    return weigh(store, nodes.values(), of_ids(nodes, sample_ids), doubts).exposure(short)


def _num_held(artifact: Artifact, hold: Hold, first: int, holds: Holds) -> int:
    """How many documents or kept rows of an artifact are asked about. Raises `StoreError` where it is damaged."""
    if artifact.head.kind == kinds.Rows.kind:
        rows = artifact.as_kind(Rows)
        return num_held(rows, hold, first or 2**62, holds.row_parts.get(artifact.head.short))
    file_name = SAMPLE_TABLES.get(artifact.head.kind)
    if file_name is None:
        return 0
    wanted = of_any(hold)
    if wanted.is_every:
        return artifact.head.items.kept
    return _num_kept(artifact, file_name, wanted)


def _num_kept(artifact: Artifact, file_name: str, wanted: Wanted) -> int:
    import numpy as np

    number = 0
    for table in tables_of(artifact.store, part_tables(artifact, file_name), ["sample_id", "verdict"]):
        is_kept = table["verdict"].to_numpy() == "kept"
        number += int(np.count_nonzero(wanted.holds(ids_of(table["sample_id"])) & is_kept))
    return number
