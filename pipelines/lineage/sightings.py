"""Sightings: what one artifact holds of a sample, as typed fields, one class for each kind of artifact.

Owns these fields, their JSON form (`details`), and `Carryover`: what an artifact hands on to the artifacts that read
it. `finders.py` fills them in, `pipelines/commands/sighting_words.py` puts them into sentences. Optimizer steps are
counted from 1: a checkpoint of step 12 has seen what step 12 read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from pipelines.lineage.graph import step_name
from pipelines.screen.documents import as_json
from stages.artifacts.artifact import Artifact

TableRow: TypeAlias = Mapping[str, Any]
"""A row of a sample table by column, and `part`, the part that holds it."""


@dataclass(frozen=True)
class Carryover:
    """What of the sample an artifact hands on to the artifacts that read it. False if that is nothing.

    Kept pairs hand on sample ids, packed rows hand on row numbers, weights hand on the training that saw the sample.
    """

    sample_ids: frozenset[bytes] = frozenset()
    """Ids of the sample itself and of conversations about it."""
    parts: frozenset[str] = frozenset()
    """Names of the parts that hold these samples; empty where that is not known."""
    rows: frozenset[int] = frozenset()
    """Numbers of the packed rows that hold the sample."""
    seen_by: str = ""
    """The first training that saw the sample, of those that the weights come from; '' if none did."""

    def __bool__(self) -> bool:
        return bool(self.sample_ids or self.rows or self.seen_by)


Inputs: TypeAlias = Mapping[str, Carryover]
"""What each input hands on of the sample, by input name."""


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """One artifact that holds the sample, or a verdict on it."""

    artifact: Artifact
    carryover: Carryover = Carryover()

    @property
    def step(self) -> str:
        """The step that made the artifact, as its pipeline calls it."""
        return step_name(self.artifact.head)

    @property
    def stage(self) -> str:
        """The stage that made the artifact."""
        return self.artifact.head.stage

    @property
    def fingerprint(self) -> str:
        """The whole fingerprint of the artifact."""
        return self.artifact.fingerprint

    @property
    def kind(self) -> str:
        """The kind of the artifact, such as `Rows`."""
        return self.artifact.head.kind

    def details(self) -> dict[str, Any]:
        """The fields as JSON has them; ids of samples as hex digits."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class SourceSighting(Sighting):
    """The sample in the table where it begins: downloaded pairs, clips, texts, conversations."""

    rows: tuple[TableRow, ...]

    def details(self) -> dict[str, Any]:
        """The rows of the sample table."""
        return {"samples": as_json(self.rows)}


@dataclass(frozen=True, kw_only=True)
class VerdictSighting(Sighting):
    """The filter's verdicts on the sample."""

    verdicts: tuple[TableRow, ...]

    def details(self) -> dict[str, Any]:
        """The rows of the verdict table."""
        return {"verdicts": as_json(self.verdicts)}


@dataclass(frozen=True, kw_only=True)
class ConversationSighting(Sighting):
    """Conversations about the sample, which is a picture or a clip."""

    num_dropped: int

    @property
    def num_kept(self) -> int:
        """How many conversations about the picture or clip are kept."""
        return len(self.carryover.sample_ids)

    def details(self) -> dict[str, Any]:
        """Numbers of conversations, and the ids of those that are kept."""
        ids = sorted(self.carryover.sample_ids)
        return {"num_kept": self.num_kept, "num_dropped": self.num_dropped, "sample_ids": as_json(ids)}


@dataclass(frozen=True, kw_only=True)
class DrawSighting(Sighting):
    """The drawings of the sample in a draw; none where it was held out or not drawn."""

    drawings: tuple[TableRow, ...] = ()
    """Rows of the draw with this sample: `source`, `repetition` and position."""
    held_out: tuple[TableRow, ...] = ()
    """Rows of the hold-out table: `by` id or picture, and the held-out sample that this sample equals."""
    is_held_out_input: bool = False
    """Whether the sample is only in an input that lists samples to hold out."""

    @property
    def num_drawn(self) -> dict[str, int]:
        """How often the sample was drawn from each source."""
        return Counter(row["source"] for row in self.drawings)

    def details(self) -> dict[str, Any]:
        """The drawings, else the held-out samples that the sample equals."""
        if self.is_held_out_input:
            return {"draws": {}}
        if not self.drawings:
            return {"draws": {}, "held_out": as_json(self.held_out)}
        return {"draws": self.num_drawn, "drawings": as_json(self.drawings)}


@dataclass(frozen=True, kw_only=True)
class RowsSighting(Sighting):
    """The packed rows that hold the sample, or the verdicts that kept it out of them."""

    shards: Mapping[int, str]
    """Row number to the part that holds the row."""
    documents: Mapping[int, list[int]]
    """Row number to the positions of the sample among the row's documents; the first rows only."""
    not_packed: tuple[TableRow, ...] = ()
    """Rows of the sample table whose verdict kept the sample out of the packed rows."""

    def details(self) -> dict[str, Any]:
        """The rows with their parts and documents, else the verdicts that kept the sample out."""
        if not self.shards:
            return {"rows": {}, "samples": as_json(self.not_packed)}
        return {"rows": _by_text(self.shards), "documents": _by_text(self.documents)}


@dataclass(frozen=True, kw_only=True)
class ModelSighting(Sighting):
    """A model, or an artifact made from one, that has seen the sample or reads an artifact that holds it."""

    seen_before_by: str = ""
    """The first training that saw the sample, of those that its inputs come from; '' if none did."""
    read_as: tuple[str, ...] = ()
    """Names of the inputs that hold the sample by its id, such as the questions of an evaluation."""

    def details(self) -> dict[str, Any]:
        """The first training that saw the sample; this artifact took no optimizer steps itself."""
        return {"steps": [], "seen_before_by": self.seen_before_by}


@dataclass(frozen=True, kw_only=True)
class WeightsSighting(ModelSighting):
    """Weights that training made, and the optimizer steps that read the sample."""

    steps: tuple[int, ...]
    """Optimizer steps that read a row with the sample, counted from 1."""
    num_steps: int | None
    """Optimizer steps of the whole training; None for weights that no training made."""
    has_rows: bool
    """Whether rows with the sample are among the rows that the training reads."""
    is_examined_on: bool
    """Whether rows with the sample are among the held-out rows, which are never trained on."""

    def details(self) -> dict[str, Any]:
        """The optimizer steps that read the sample, and the training that saw it before."""
        return {"steps": list(self.steps), "seen_before_by": self.seen_before_by}


def _by_text(by_row: Mapping[int, Any]) -> dict[str, Any]:
    """The same mapping with row numbers as text, since JSON has no other keys."""
    return {str(row): value for row, value in by_row.items()}
