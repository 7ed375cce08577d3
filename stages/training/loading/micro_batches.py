"""From the number of a step to the micro-batches of one rank.

Owns the reading of packed rows for training: which rows (`step_rows`), whose (`split`), and their pictures as patches.
The rows of a step are a function of its number, so any process can load any step in advance (`prefetch`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from neo_model.config import PATCH_PX, NeoConfig
from neo_model.costs.flops import forward_flops
from neo_model.inputs.batch import Batch, Document, Weighting, ensure_image
from neo_model.inputs.pictures import PictureError, fit_size, open_pixels, patches_on_grid
from neo_model.inputs.positions import ImageMismatchError, check_images, image_spans
from stages.artifacts.kinds import Rows
from stages.contract import Fork, Rank
from stages.formats.packed_rows.rows import DamagedRowError, Row, RowReader
from stages.training.forks import spans_of
from stages.training.loading.sequence_place import SequencePlace
from stages.training.loading.split import RowSplit
from stages.training.loading.step_rows import RowOrder, Span, span_of_step
from stages.training.objectives.forms import Forms
from stages.training.objectives.masking import Masking
from stages.training.recipe import TrainRecipe
from stages.training.skipped import LeftOutOfSteps, Skipped

NUM_STEPS_REMEMBERED: Final = 8
"""Steps whose rows stay assigned to ranks: more than are loaded at a time."""
MAX_DECODED_PX: Final = 2**28
"""Largest picture that is decoded. Rows hold pictures that were judged when they were downloaded."""


class UnfitRowError(DamagedRowError):
    """A row with the bytes that were committed, of which a picture does not decode or does not fit its tokens.

    As damaged as one whose bytes were lost, but rebuilding its part makes the same bytes again.
    """


@dataclass(frozen=True)
class PackedRows:
    """One Rows artifact as training reads it."""

    reader: RowReader
    min_pixels_px: int
    """Range that its pictures are resized into, as it was when the rows were packed."""
    max_pixels_px: int

    @classmethod
    def of(cls, rows: Rows) -> PackedRows:
        """Open an artifact; its manifest says how its pictures were measured."""
        recipe = rows.head.recipe
        return cls(RowReader.mapped(rows), recipe["min_pixels_px"], recipe["max_pixels_px"])

    @property
    def pixel_range(self) -> dict[str, int]:
        """`min_pixels_px` and `max_pixels_px`, for a model's configuration."""
        return {"min_pixels_px": self.min_pixels_px, "max_pixels_px": self.max_pixels_px}


@dataclass(frozen=True)
class MicroBatch:
    """What one forward pass takes, and where it comes from."""

    batch: Batch
    rows: tuple[int, ...]
    sample_ids: tuple[str, ...]
    """Sample id of each document, hex."""
    sources: tuple[str, ...]
    """Source of each document."""
    imbalance: float = 0.0
    """How much longer its step takes than it would if the rows of all ranks cost alike, as a fraction."""
    skipped: tuple[Skipped, ...] = ()
    """Rows that belong here, are damaged, and were left out."""
    num_padding: int = 0
    """Tokens of a share that only fill it up, and captions that stand in it a second time."""

    @property
    def num_tokens(self) -> int:
        """Tokens of its rows, or of this rank's share of them."""
        return self.batch.num_tokens - self.num_padding if self.rows else 0

    @property
    def weight(self) -> float:
        """Sum of the loss weights."""
        return float(self.batch.weights.double().sum())

    def without_pixels(self) -> MicroBatch:
        """The same with its pictures gone, which are most of its memory."""
        patches, places = self.batch.patches[:0].clone(), self.batch.patch_positions[:0].clone()
        return replace(self, batch=replace(self.batch, patches=patches, patch_positions=places))


@dataclass(frozen=True)
class FetchedRows:
    """What a micro-batch is made of: the rows as they were read."""

    packed: PackedRows
    rows: tuple[Row, ...]
    skipped: tuple[Skipped, ...] = ()
    imbalance: float = 0.0
    step: int | None = None
    """The step that they belong to; None for rows that no step skips, such as held-out rows."""


@dataclass(frozen=True)
class StepLoader:
    """Loads one rank's share of any step. Pickles, for worker processes."""

    packed: tuple[PackedRows, ...]
    spans: tuple[Span, ...]
    split: RowSplit
    rows_per_step: int
    seed: int
    weighting: Weighting
    config: NeoConfig
    place: SequencePlace = field(default_factory=SequencePlace)
    """Which share of its rows this rank has."""
    skips_damage: bool = False
    """Whether damaged rows are left out, instead of raised."""
    left_out: LeftOutOfSteps = field(default_factory=LeftOutOfSteps)
    """Rows that earlier attempts skipped, which are skipped again even if they are intact now; and whole steps."""
    forms: Forms = field(default_factory=Forms)
    """The form in which documents are learned at a step: masked, or with captions once more."""
    _steps: dict[int, tuple[float, list[list[int]]]] = field(default_factory=dict, compare=False)

    @classmethod
    def of(
        cls,
        recipe: TrainRecipe,
        rows: Sequence[Rows],
        rank: Rank,
        config: NeoConfig,
        left_out: LeftOutOfSteps | None = None,
        *,
        fork: Fork | None = None,
        masking: Masking | None = None,
    ) -> StepLoader:
        """The loader of one rank."""
        return cls(
            packed=tuple(PackedRows.of(one) for one in rows),
            spans=spans_of(recipe, [one.fingerprint for one in rows], fork),
            split=RowSplit.of(recipe.rows_per_step, rank.layout, rank.rank, rank.world_size),
            rows_per_step=recipe.rows_per_step,
            seed=recipe.seed,
            weighting=Weighting(recipe.loss_weighting),
            config=config,
            place=SequencePlace.of_rank(rank, config, recipe.precision),
            skips_damage=recipe.on_damaged_row == "skip",
            left_out=left_out or LeftOutOfSteps(),
            forms=Forms.of(recipe, masking),
        )

    def row_tokens(self, step: int) -> int:
        """How many tokens a row of this step can hold."""
        return self.packed[span_of_step(step, self.spans).rows].reader.row_tokens

    def probe(self) -> Batch:
        """The first row of the first step that is not left out, on every rank: the probe row of checkpoints.

        The same for all checkpoints: a step can be left out only as long as it is not committed. A fork, whose steps
        begin later, takes the first row of step 0 of the training that it begins from, where that reads the same rows.
        """
        if self.spans[0].first_step > 0:
            packed, first_row, step = self.packed[0], 0, 0
        else:
            step = next(step for step in range(self.spans[-1].until_step) if step not in self.left_out.steps)
            span = span_of_step(step, self.spans)
            packed, first_row, step = self.packed[span.rows], span.first_row, step - span.first_step
        rows = self._order(packed, first_row).rows_of_step(step)
        return self.decode(FetchedRows(packed, (packed.reader.read(rows[0]),))).batch

    def load(self, step: int) -> list[MicroBatch]:
        """The micro-batches of this rank at a step. Raises `DamagedRowError` unless damaged rows are skipped."""
        return [self.decode(self.fetch(step, number)) for number in range(self.split.num_micro_batches)]

    def fetch(self, step: int, number: int) -> FetchedRows:
        """Read the rows of one micro-batch of this rank; none of a step that is left out. From any thread."""
        packed = self.packed[span_of_step(step, self.spans).rows]
        if step in self.left_out.steps:
            return FetchedRows(packed, (), step=step)
        imbalance, shares = self._assigned(step)
        rows, skipped = [], []
        for row in shares[number]:
            try:
                rows += [packed.reader.read(row)] if not self.left_out.holds(step, row) else []
            except DamagedRowError as error:
                if not self.skips_damage:
                    raise
                skipped.append(Skipped.of(step, error, packed.reader))
        return FetchedRows(packed, tuple(rows), tuple(skipped), imbalance, step)

    def decode(self, fetched: FetchedRows) -> MicroBatch:
        """The pictures of the rows as patches, and the rows end to end. Raises `UnfitRowError` unless it is skipped."""
        packed, skipped = fetched.packed, list(fetched.skipped)
        rows: list[tuple[Row, list[Document]]] = []
        patches: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
        for row in fetched.rows:
            try:
                of_row = list(documents_of(row, packed, self.config.image_context_id)), list(patches_of(row, packed))
            except UnfitRowError as error:
                if fetched.step is None or not self.skips_damage:
                    raise
                skipped.append(Skipped.of(fetched.step, error, packed.reader))
                continue
            rows.append((row, of_row[0]))
            patches += of_row[1]
        packed_row = self.forms.pack(
            rows, patches, fetched.step, image_context_id=self.config.image_context_id, weighting=self.weighting
        )
        share, num_padding = self.place.take(packed_row.batch)
        return MicroBatch(
            batch=ensure_image(share),
            num_padding=num_padding + packed_row.num_repeated,
            rows=tuple(row.number for row, _ in rows),
            sample_ids=tuple(sample_id.hex() for row, _ in rows for sample_id in row.sample_ids),
            sources=packed_row.sources,
            skipped=tuple(skipped),
            imbalance=fetched.imbalance,
        )

    def _order(self, packed: PackedRows, first_row: int) -> RowOrder:
        return RowOrder.of(packed.reader, rows_per_step=self.rows_per_step, seed=self.seed, first_row=first_row)

    def _assigned(self, step: int) -> tuple[float, list[list[int]]]:
        """How unequal the ranks are at a step, and the rows of this one in each of its micro-batches."""
        if (assigned := self._steps.get(step)) is not None:
            return assigned
        span = span_of_step(step, self.spans)
        packed = self.packed[span.rows]
        rows = self._order(packed, span.first_row).rows_of_step(step - span.first_step)
        costs = [forward_flops(self.config, work) for work in packed.reader.works(rows)]
        shares = [[rows[place] for place in mine] for mine in self.split.of_step(costs)]
        assigned = self._steps[step] = self.split.imbalance(costs), shares
        for old in list(self._steps)[:-NUM_STEPS_REMEMBERED]:
            self._steps.pop(old, None)
        return assigned


def documents_of(row: Row, packed: PackedRows, image_context_id: int) -> Iterator[Document]:
    """The documents of a row, each with the grids of its own pictures. Raises `UnfitRowError`."""
    spans = image_spans(np.asarray(row.token_ids, np.int64), image_context_id)
    try:
        check_images(spans, row.image_grids.tolist())
    except ImageMismatchError as error:
        raise _unfit(row, packed, str(error)) from error
    edges = np.searchsorted(spans[:, 0], row.document_offsets)
    for number, (start, end) in enumerate(zip(row.document_offsets[:-1], row.document_offsets[1:], strict=True)):
        grids = row.image_grids[edges[number] : edges[number + 1]]
        yield Document(
            token_ids=row.token_ids[start:end],
            supervised=row.supervised[start:end],
            grids=[(int(grid_h), int(grid_w)) for grid_h, grid_w in grids],
        )


def patches_of(row: Row, packed: PackedRows) -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
    """The patches of each picture of a row, on the grid that its tokens were counted for. Raises `UnfitRowError`."""
    for number, (data, recorded) in enumerate(zip(row.images, row.image_grids.tolist(), strict=True)):
        grid_h, grid_w = recorded
        try:
            pixels = open_pixels(data, max_pixels_px=MAX_DECODED_PX)
            height_px, width_px, _ = pixels.shape
            largest_w, largest_h = fit_size(width_px, height_px, packed.min_pixels_px, packed.max_pixels_px)
        except PictureError as error:
            raise _unfit(row, packed, f"picture {number} does not decode: {error}") from error
        # Packing gives a picture fewer tokens where its sample would not fit a row otherwise; never more, nor turned.
        is_larger = grid_h * PATCH_PX * grid_w * PATCH_PX > largest_h * largest_w
        is_turned = (grid_h - grid_w) * (height_px - width_px) < 0
        if is_larger or is_turned:
            complaint = (
                f"picture {number} has {width_px} x {height_px} px and comes to at most {largest_h // PATCH_PX} x "
                f"{largest_w // PATCH_PX} patches; {grid_h} x {grid_w} were counted when it was packed"
            )
            raise _unfit(row, packed, complaint)
        yield patches_on_grid(pixels, (grid_h, grid_w))


def _unfit(row: Row, packed: PackedRows, complaint: str) -> UnfitRowError:
    rows, part = packed.reader.rows, packed.reader.part_of(row.number)
    samples = ", ".join(sample_id.hex() for sample_id in row.sample_ids)
    return UnfitRowError(
        f"row {row.number} (samples {samples}; part {part} of {rows!r}) cannot be trained on: {complaint}. Its bytes "
        "are those that were committed: leave such rows out, on record, with --set STEP.on_damaged_row=skip, or pack "
        "them again from pictures that decode",
        rows.fingerprint,
        part,
        row.number,
    )
