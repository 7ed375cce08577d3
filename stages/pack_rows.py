"""Packs the samples of a draw into rows (packed sequences): sequences of bounded length that training reads one by one.

Reads  Draw      what to pack and in which order, and the sources it was drawn from
       BaseLlm   its tokenizer; or a Checkpoint that is to be tuned, its own
Makes  Rows      three phases, of which other stages read the last

    measure/<part>   measured.parquet, a row for each drawing with its verdict and length; documents.bin and
                     documents.parquet, the tokenised documents (stages/packing/document_records.py). One part for
                     each part of the draw
    plan/plan        planned.bin and parts.parquet, the rows of each part (stages/packing/plan_file.py);
                     sample_rows.bin and .fan, the rows of each sample (formats/packed_rows/sample_index.py); facts:
                     the certificate
    write/<part>     rows.tar (stages/formats/packed_rows/row_format.py); index.parquet, where each packed row lies and
                     how much work it is for the network; samples.parquet, a row for each drawing that the part
                     accounts for, with its verdict

Lengths come from the sizes in sample tables and from tokenised text. No picture is decoded: its bytes are copied. So
are those of frames; a clip that is stored as packets is decoded once, when its row is written. A sample is never split
over rows: one that is too long is fitted or dropped (`stages/formats/fit_sample.py`).
"""

from __future__ import annotations

from functools import partial
from typing import Self

from pydantic import Field, model_validator

from stages.artifacts.kinds import (
    DRAW_PHASE,
    MEASURE_PHASE,
    PLAN_PART,
    PLAN_PHASE,
    ROWS_PHASE,
    BaseLlm,
    Checkpoint,
    Draw,
    ExportedCheckpoint,
    Rows,
)
from stages.contract import Part, PartRecord, Recipe, StageContext, stage
from stages.formats.draws import DrawFacts
from stages.formats.fit_sample import MAX_FRAME_PIXELS_PX, MAX_FRAMES, MIN_FRAME_PIXELS_PX, Limits
from stages.formats.sample_sources import SourcePart, drawn_sources
from stages.packing.measure import measure_part
from stages.packing.plan import PlanFacts, PlanTask, plan_part
from stages.packing.plan_file import planned_parts
from stages.packing.row_inputs import RowInputs
from stages.packing.write import write_part


class PackRowsRecipe(Recipe):
    """How long rows and documents may be, and how large pictures."""

    max_row_tokens: int = Field(default=16_384, ge=2)
    """Length of a row, in tokens."""
    max_sample_tokens: int | None = Field(default=None, ge=2)
    """Longest document, in tokens; None allows a whole row. Longer ones are cut, given smaller images, then fewer
    frames, or dropped."""
    min_pixels_px: int = Field(default=65_536, ge=1, le=10_000_000_000)
    """Smallest picture after resizing, in pixels."""
    max_pixels_px: int = Field(default=4_194_304, ge=1, le=10_000_000_000)
    """Largest picture after resizing, in pixels."""
    pictures_share_pixels: bool = False
    """Whether n > 1 pictures of a sample may have max(2 * max_pixels_px / n, min_pixels_px) each, as the released
    training kit has it; else each may have `max_pixels_px`."""
    min_frame_pixels_px: int = Field(default=MIN_FRAME_PIXELS_PX, ge=1)
    """Smallest frame of a clip after resizing, in pixels."""
    max_frame_pixels_px: int = Field(default=MAX_FRAME_PIXELS_PX, ge=1)
    """Largest frame of a clip after resizing, in pixels."""
    max_frames: int = Field(default=MAX_FRAMES, ge=1)
    """Most frames of one clip: a longer one gives so many at interior points of equal distance."""
    window_documents: int | None = Field(default=None, ge=1)
    """Consecutive documents of the draw that are packed together; None packs all documents at once."""
    num_rows_per_part: int = Field(default=512, ge=1)
    """Rows in one tar, which are written again when a worker dies."""
    rows_together: int = Field(default=1, ge=1)
    """Consecutive rows that cost alike, which training keeps together: the rows of a step, where lengths differ much,
    so that no rank waits for one with a long video. 1 shuffles all rows."""
    seed: int = 0
    """Seed of the order of rows, and of the order of documents in a row."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_pixels_px > self.max_pixels_px:
            raise ValueError(f"min_pixels_px {self.min_pixels_px} is above max_pixels_px {self.max_pixels_px}")
        if self.min_frame_pixels_px > self.max_frame_pixels_px:
            smallest, largest = self.min_frame_pixels_px, self.max_frame_pixels_px
            raise ValueError(f"min_frame_pixels_px {smallest} is above max_frame_pixels_px {largest}")
        if self.max_sample_tokens is not None and self.max_sample_tokens > self.max_row_tokens:
            raise ValueError(f"max_sample_tokens {self.max_sample_tokens} is above a row of {self.max_row_tokens}")
        return self

    @property
    def limits(self) -> Limits:
        """The limits that each document is fitted to."""
        return Limits(
            max_tokens=self.max_sample_tokens or self.max_row_tokens,
            min_pixels_px=self.min_pixels_px,
            max_pixels_px=self.max_pixels_px,
            min_frame_pixels_px=self.min_frame_pixels_px,
            max_frame_pixels_px=self.max_frame_pixels_px,
            max_frames=self.max_frames,
            pictures_share_pixels=self.pictures_share_pixels,
        )


@stage(number=9, recipe=PackRowsRecipe, makes=Rows, accepts=(7, 8), phases=(MEASURE_PHASE, PLAN_PHASE, ROWS_PHASE))
def pack_rows(
    recipe: PackRowsRecipe, draw: Draw, llm: BaseLlm | Checkpoint | ExportedCheckpoint, *, ctx: StageContext
) -> None:
    """Measure the drawn samples, plan the rows, and write them."""
    over = [_measuring(record) for record in draw.phase(DRAW_PHASE)]
    sources = drawn_sources(draw)
    measuring = partial(measure_part, draw=draw, sources=sources, llm=llm, limits=recipe.limits)
    measured = ctx.spread(measuring, over=over, phase=MEASURE_PHASE)
    task = PlanTask(
        key=f"{recipe.seed}/rows",
        row_tokens=recipe.max_row_tokens,
        window_documents=recipe.window_documents,
        num_rows_per_part=recipe.num_rows_per_part,
        rows_together=recipe.rows_together,
    )
    planning = partial(plan_part, store=draw.store, measured=measured)
    (plan,) = ctx.spread(planning, over=[Part(name=PLAN_PART, task=task.dump())], phase=PLAN_PHASE)
    ctx.report(_numbers(PlanFacts.of(plan)))
    writing = partial(write_part, plan=plan, inputs=RowInputs.of(draw.store, sources, measured))
    ctx.spread(writing, over=planned_parts(draw.store, plan), phase=ROWS_PHASE)


def _measuring(drawn: PartRecord) -> Part:
    """The part of phase `measure` for one part of the draw."""
    facts = DrawFacts.of(drawn)
    return Part(
        name=drawn.part, task=SourcePart(source=facts.source, part=facts.part).dump(), num_items=drawn.items.kept
    )


def _numbers(plan: PlanFacts) -> dict[str, float]:
    """Metrics of the plan: its certificate, dropped drawings, what is packed of each source, and frames."""
    certificate = ("num_rows", "lower_bound_rows", "gap", "fill", "num_documents", "num_tokens", "num_images")
    dropped = {"num_dropped": sum(plan.dropped.values())}
    packed = {
        f"{what}_{name}": num for name, counts in plan.packed.items() for what, num in counts.model_dump().items()
    }
    frames = ("num_frames", "num_with_fewer_frames", "num_with_smaller_pictures") if plan.num_frames else ()
    return {name: getattr(plan, name) for name in (*certificate, *frames)} | dropped | packed
