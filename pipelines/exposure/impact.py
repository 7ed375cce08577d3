"""What bad data did: the steps and checkpoints that hold it, what was made of these, and from where to train again.

Owns the judgement of each training, finished or not. Weights that began from weights which hold it hold it from their
step 0. What lies behind a doubt is never called clean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pipelines.exposure.account import Weighed
from pipelines.exposure.cost import Cost, cost_of
from pipelines.exposure.holds import WEIGHTS, inputs_first, short_of
from pipelines.exposure.readings import StepReads
from pipelines.exposure.trainings import KnownTraining, origins_of
from pipelines.exposure.weights import CAPTIONER, USERS, begins_from
from pipelines.lineage.graph import Node
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.learned import slot_of
from stages.artifacts.manifest import artifact_folder
from stages.artifacts.records import PartRecord
from stages.commit.checkpoints import CheckpointRecords, forkable
from stages.store.store import Store


@dataclass(frozen=True)
class CleanPoint:
    """Where a training can begin again without what is bad."""

    at_step: int
    """Optimizer steps done there; 0: before the first."""
    training: str = ""
    """The training whose checkpoint it is, by its short name; '' for step 0."""
    remark: str = ""
    """Why it is no later one, as a clause; '' for nothing to say."""

    @property
    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"at_step": self.at_step, "training": self.training or None, "remark": self.remark}


@dataclass(frozen=True)
class TrainingImpact:
    """A training that holds what is bad, or of which that is not known."""

    training: KnownTraining
    reads: StepReads
    """Committed steps that read it."""
    to_come: StepReads
    """Steps of an unfinished training that will read it."""
    begins_from: tuple[str, ...]
    """Weights that it began from and that hold it, and trainings that are bad and that it forks, by short names."""
    is_bad_itself: bool
    """Whether the training itself is what was asked about."""
    clean: CleanPoint | None
    """Where to train again from; None where what it begins from has to be made again first."""
    checkpoints: tuple[int, ...]
    """Steps of kept checkpoints that hold it."""
    cost: Cost
    """What it costs to train again from there."""
    doubts: tuple[str, ...] = ()
    """What could not be read behind it."""

    @property
    def holds(self) -> bool:
        """Whether committed weights of it hold what is bad, as far as could be read."""
        return self.is_bad_itself or bool(self.begins_from) or self.reads.first is not None

    @property
    def first_step(self) -> int | None:
        """The first step whose weights hold it: 0 where it began with them; None where none does yet."""
        return 0 if self.is_bad_itself or self.begins_from else self.reads.first

    @property
    def document(self) -> dict[str, Any]:
        """As JSON has it; steps are counted from 1, 0 is the start."""
        return {
            "step": self.training.step,
            "artifact": self.training.short,
            "fingerprint": self.training.fingerprint,
            "is_finished": self.training.head is not None,
            "num_steps": self.training.num_taken,
            "holds": self.holds,
            "is_known": not self.doubts,
            "first_step": self.first_step,
            "begins_from": list(self.begins_from),
            "times": self.reads.num_documents,
            "num_rows": self.reads.num_rows,
            "num_tokens": self.reads.num_tokens,
            "num_holding_steps": len(self.reads.steps),
            "steps": self.reads.stretches,
            "steps_to_come": self.to_come.stretches,
            "checkpoints": list(self.checkpoints),
            "clean": self.clean.document if self.clean else None,
            "again": self.cost.document,
            "unreadable": list(self.doubts),
        }


@dataclass(frozen=True)
class MadeOfIt:
    """An artifact that holds weights which hold what is bad, or what these said."""

    short: str
    step: str
    kind: str
    through: tuple[str, ...]
    """The weights that it was made of, by their short names; () for one that is bad itself."""
    how: str
    """How it holds it, in words."""

    @property
    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "artifact": self.short,
            "step": self.step,
            "kind": self.kind,
            "through": list(self.through),
            "how": self.how,
        }


@dataclass(frozen=True)
class Impact:
    """What bad data did in a store."""

    trainings: tuple[TrainingImpact, ...]
    """Trainings that hold it, will hold it, or of which that is not known; inputs first."""
    made: tuple[MadeOfIt, ...]
    """What else holds it: merges, exports, evaluations, captions."""
    clean: tuple[str, ...]
    """Trainings that hold none of it, by their short names: everything behind them could be read."""
    doubts: tuple[str, ...]
    """What could not be read in all of the store that was looked at."""
    not_compared: tuple[str, ...]
    """Rows whose index from samples to rows was believed without comparing its digest, being long."""

    @property
    def again(self) -> dict[str, Any]:
        """What it costs to train all of it again, as JSON has it."""
        costs = [one.cost for one in self.trainings if one.holds]
        tokens = [one.num_tokens for one in costs]
        hours = [one.rank_hours for one in costs]
        return {
            "num_steps": sum(one.num_steps for one in costs),
            "num_rows": sum(one.num_rows for one in costs),
            "num_tokens": None if None in tokens else round(sum(one for one in tokens if one is not None)),
            "rank_hours": None if None in hours else sum(one for one in hours if one is not None),
            "rank_hours_known": sum(one for one in hours if one is not None),
        }

    @property
    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "trainings": [one.document for one in self.trainings],
            "made_of_it": [one.document for one in self.made],
            "clean": list(self.clean),
            "again": self.again,
            "is_known": not self.doubts,
            "unreadable": list(self.doubts),
            "not_compared": list(self.not_compared),
        }


@dataclass
class Judge:
    """Judges every training and what was made of it, inputs first."""

    weighed: Weighed
    bad: frozenset[str]
    """Artifacts that are bad as a whole, by their short names."""
    among: frozenset[str] | None = None
    """Only these artifacts are told of; None: all."""
    holding: dict[str, str] = field(default_factory=dict)
    """Weights that hold it, by their short names, and how, in words."""

    def judge(self) -> Impact:
        """What all trainings hold."""
        told: list[TrainingImpact] = []
        made: list[MadeOfIt] = []
        clean: list[str] = []
        for short in self._weights_first():
            training = self.weighed.trainings.get(short)
            if training is None:
                made += self._made(short)
                continue
            impact = self._training(training)
            if impact.holds:
                self.holding[short] = "trained on it" if impact.reads.first else "began from weights that hold it"
            if self.among is not None and short not in self.among:
                continue
            if impact.holds or impact.doubts or impact.to_come.first is not None:
                told.append(impact)
            else:
                clean.append(short)
        everything = dict.fromkeys(why for reasons in self.weighed.doubts.reasons.values() for why in reasons)
        return Impact(
            tuple(told), tuple(made), tuple(clean), tuple(everything), tuple(self.weighed.readings.not_compared)
        )

    def _weights_first(self) -> Iterator[str]:
        """All artifacts and trainings, each after what it is made of; trainings that are not finished come last."""
        nodes = self.weighed.holds.nodes
        unfinished = [short for short, one in self.weighed.trainings.items() if one.head is None]
        yield from (node.short for node in inputs_first(nodes.values()) if node.short not in unfinished)
        yield from unfinished

    def _training(self, training: KnownTraining) -> TrainingImpact:
        tally = self.weighed.readings.tallies.get(training.short)
        reads = StepReads.none() if tally is None else tally.reads
        seen, to_come = reads.until(training.num_taken), reads.after(training.num_taken)
        before = begins_from(self.weighed.holds, training.short, self.weighed.trainings)
        origins = [one.short for one in origins_of(training) if one.short in self.bad]
        begins = tuple(dict.fromkeys([*(one for one in before if one in self.holding), *origins]))
        is_bad = training.short in self.bad
        first = 0 if is_bad or begins else seen.first
        clean = self._clean_point(training, first if first is not None else to_come.first)
        kept = sorted({int(record.facts["step"]) for record in training.kept})
        return TrainingImpact(
            training=training,
            reads=seen,
            to_come=to_come,
            begins_from=begins,
            is_bad_itself=is_bad,
            clean=clean,
            checkpoints=() if first is None else tuple(step for step in kept if step >= first),
            cost=cost_of(training, clean.at_step if clean else 0) if first is not None else Cost(0, 0, 0.0),
            doubts=tuple(self.weighed.doubts_of(training.short)),
        )

    def _clean_point(self, training: KnownTraining, first: int | None) -> CleanPoint | None:
        """The last state before step `first`; None where it begins with what is bad."""
        if not first:
            return None
        store = training.store
        folders: list[tuple[str, str, int]] = [(training.stage, training.fingerprint, training.num_steps)]
        folders += [(origin.stage, origin.fingerprint, origin.at_step) for origin in origins_of(training)]
        damaged = ""
        for stage, fingerprint, until_step in folders:
            for record in reversed(forkable(CheckpointRecords(store, artifact_folder(stage, fingerprint)))):
                step = int(record.facts["step"])
                if step >= first or step > until_step:
                    continue
                if (why := _why_not_whole(store, record)) == "":
                    return CleanPoint(step, f"{stage}/{fingerprint[:SHOWN_DIGITS]}", damaged)
                damaged = damaged or f"the checkpoint of step {step:,} is clean, but {why}"
        return CleanPoint(0, "", damaged or f"none to continue from is kept before step {first:,}")

    def _made(self, short: str) -> Iterator[MadeOfIt]:
        """An artifact that no training made, if it holds it through weights, or is bad itself."""
        node = self.weighed.holds.nodes[short]
        if node.head is None:
            return
        captioners = [short_of(item) for name, item in node.head.inputs.items() if slot_of(name) == CAPTIONER]
        through = tuple(one for one in self._weights_read(node) if one in self.holding)
        is_weights = node.kind in WEIGHTS
        if short in self.bad:
            how = "it is what was asked about"
        elif through and any(one in captioners for one in through):
            how = "its captions were written by weights that hold it"
        elif through:
            how = "made of weights that hold it"
        elif is_weights and short in self.weighed.holds.holds:
            how = "made of an artifact that holds it, by a stage that records no steps"
        else:
            return
        if is_weights:
            self.holding[short] = how
        if self.among is None or short in self.among:
            yield MadeOfIt(short, node.step, node.kind, through, how)

    def _weights_read(self, node: Node) -> list[str]:
        if node.kind in USERS:
            return begins_from(self.weighed.holds, node.short, self.weighed.trainings)
        nodes = self.weighed.holds.nodes
        read = (
            [short_of(item) for name, item in node.head.inputs.items() if slot_of(name) != "llm"] if node.head else []
        )
        return [one for one in read if one in nodes and nodes[one].kind in WEIGHTS]


def _why_not_whole(store: Store, record: PartRecord) -> str:
    """Why a checkpoint cannot be begun from, as a clause; '' if its files have the sizes that were committed."""
    sizes = store.each(lambda entry: store.size_bytes(entry.key), list(record.files))
    for entry, size_bytes in zip(record.files, sizes, strict=True):
        if size_bytes != entry.size_bytes:
            return f"{entry.key} {'is missing' if size_bytes is None else 'has another size'}"
    return ""
