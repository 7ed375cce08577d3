"""Optimizer steps: which rows one takes, and its batch as training makes it, without Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.preview.packed_rows import model_of_rows
from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import Rows
from stages.contract import StageError
from stages.formats.packed_rows.rows import RowReader

if TYPE_CHECKING:
    from neo_model.inputs.batch import Batch

RELEASED_WEIGHTING = "square"
"""Weight of a supervised token where no training says another: 1 / sqrt of those in its document."""


@dataclass(frozen=True)
class TrainingStep:
    """One optimizer step over packed rows."""

    number: int
    """Number of the step, counted from 1, as the commands count."""
    rows: Rows
    """The rows that it reads from."""
    row_numbers: tuple[int, ...]
    """The rows that it takes, in order, without those that were left out on record."""
    weighting: str = RELEASED_WEIGHTING
    """How the tokens of a document are weighted."""

    def batch(self) -> Batch:
        """All its rows as one batch: what one rank with room for them would get in one forward pass."""
        return batch_of(self.rows, self.row_numbers, self.weighting)

    @classmethod
    def taken(cls, trained: Artifact, number: int) -> TrainingStep:
        """A step that a training took, before a fork too. Raises `StageError` where it took no step of this number."""
        from stages.training.exposure import is_trained, left_out_of, name_of_rows, num_steps_taken, order_of
        from stages.training.forks import course_of

        name = f"{trained.head.kind} {trained.stage}/{trained.short}"
        if not is_trained(trained):
            raise StageError(f"{name} was not trained on rows; a step needs `rows_per_step`, and packed rows")
        if not 1 <= number <= num_steps_taken(trained):
            raise StageError(f"{name} took the steps 1 to {num_steps_taken(trained)}; {number} is not among them")
        stretch = course_of(trained.head, number)[-1]
        rows = trained.input(name_of_rows(trained, stretch), Rows)
        order, left_out = order_of(RowReader(rows), stretch), left_out_of(trained)
        taken = order.rows_of_step(number - 1 - stretch.first_step)
        kept = tuple(row for row in taken if not left_out.holds(number - 1, row))
        return cls(number, rows, kept, trained.head.recipe.get("loss_weighting", RELEASED_WEIGHTING))

    @classmethod
    def over(cls, rows: Rows, number: int, *, rows_per_step: int, seed: int) -> TrainingStep:
        """The step that a training over these rows alone would take."""
        from stages.training.loading.step_rows import RowOrder

        if number < 1:
            raise StageError(f"step {number}: steps are counted from 1")
        order = RowOrder.of(RowReader(rows), rows_per_step=rows_per_step, seed=seed)
        return cls(number, rows, tuple(order.rows_of_step(number - 1)))


def batch_of(rows: Rows, numbers: Sequence[int], weighting: str = RELEASED_WEIGHTING) -> Batch:
    """Rows as one batch of tensors, pictures as patches, by the functions that training uses.

    Raises `DamagedRowError` where a row is not what was committed, or its pictures do not fit it.
    """
    from neo_model.inputs.batch import Weighting, ensure_image, pack
    from neo_model.inputs.conversation import special_ids
    from stages.formats.tokenizer import tokenizer_of
    from stages.training.loading.micro_batches import PackedRows, documents_of, patches_of

    context_id = special_ids(tokenizer_of(model_of_rows(rows))).image_context
    recipe = rows.head.recipe
    packed = PackedRows(RowReader(rows), recipe["min_pixels_px"], recipe["max_pixels_px"])
    read = [packed.reader.read(number) for number in numbers]
    documents = [document for row in read for document in documents_of(row, packed, context_id)]
    patches = [picture for row in read for picture in patches_of(row, packed)]
    return ensure_image(pack(documents, patches, image_context_id=context_id, weighting=Weighting(weighting)))
