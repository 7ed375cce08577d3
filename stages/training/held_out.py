"""Held-out rows and questions of a training: what it is examined on and never trains on.

Owns the refusal of rows that are trained on and held out at once. The examination itself is `examination.py`, which
only ranks import: this module is imported by stage files and loads no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from stages.artifacts.head import read_head
from stages.artifacts.kinds import Conversations, Rows
from stages.contract import StageError
from stages.formats.packed_rows.row_map import mapped_rows
from stages.formats.packed_rows.rows import RowReader


@dataclass(frozen=True)
class HeldOut:
    """Held-out rows and questions; either may be missing."""

    rows: Rows | None
    questions: Conversations | None

    def check(self, trained_on: Sequence[Rows]) -> None:
        """Raise `StageError` where held-out samples are trained on, or rows that were drawn for examining."""
        for rows in trained_on:
            if _purpose(rows) == "examine":
                raise StageError(
                    f"{rows!r} was drawn to examine a model on (purpose='examine'); bind it as `heldout_rows`, and to "
                    "`rows` what was drawn for training"
                )
        unseen = set(self._sample_ids())
        for rows in trained_on if unseen else ():
            if seen := RowReader(rows).samples.rows_of_many(unseen):
                first = min(seen)
                raise StageError(
                    f"{len(seen)} held-out samples are trained on: sample {first.hex()} is in row {seen[first][0]} of "
                    f"{rows!r}; give what is held out to `mix_samples` as `heldout`, and pack the rows again"
                )

    def for_ranks(self) -> HeldOut:
        """The same, as it travels to a worker group: see `mapped_rows`."""
        return self if self.rows is None else replace(self, rows=mapped_rows(self.rows))

    def _sample_ids(self) -> Iterator[bytes]:
        """Sample ids of rows and questions, and of the questions' pictures and clips."""
        if self.rows is not None:
            for sample_ids in RowReader(self.rows).index("sample_ids")["sample_ids"].to_pylist():
                yield from sample_ids
        if self.questions is not None:
            from stages.evaluation.questions import read_questions

            for question in read_questions(self.questions):
                yield from (question.sample_id, *question.image_ids, *question.clip_ids)


def _purpose(rows: Rows) -> str:
    """What the rows were drawn for: `train` where the draw does not say."""
    draw = rows.head.inputs.get("draw")
    head = None if draw is None else read_head(rows.store, draw.stage, draw.fingerprint)
    return "train" if head is None else str(head.recipe.get("purpose", "train"))
