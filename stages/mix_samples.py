"""Draws the samples that a training stage is to see, from several sources by stated shares.

Reads  KeptPairs, RawClips, KeptClips, TextDocuments, KeptTexts, Conversations  `sources`, under names of the user's
                                                                                choice; of these the tables alone
       the same, or RawPairs   `heldout`, if any: no sample that is also in these is drawn
       BaseLlm, or a Checkpoint   `llm`, if any: its tokenizer counts the tokens of shares in tokens
Makes  Draw   parts: draw.parquet, a row for each drawing of a sample of one part of a source, with its `place` in the
              order of the whole draw; before them, lists of held-out samples (stages/mixing/held_out.py) and token
              counts (stages/mixing/token_counts.py)

The order of a draw, and which samples of a source it takes, are keyed permutations (`stages/mixing/shares.py`,
`stages/formats/permutation.py`): each part computes its own drawings, without a sort or a list of all samples, and any
number of workers draws the same.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from stages.artifacts.ancestry import ancestry
from stages.artifacts.carried import CARRIED_COUNTS, carried_counts
from stages.artifacts.kinds import (
    DRAW_FILE,
    DRAW_PHASE,
    HOLD_OUT_PHASE,
    MARK_PHASE,
    MARKS_FILE,
    WEIGH_PHASE,
    BaseLlm,
    Checkpoint,
    Conversations,
    Draw,
    ExportedCheckpoint,
    KeptClips,
    KeptPairs,
    KeptTexts,
    ModelFolder,
    RawClips,
    RawPairs,
    TextDocuments,
)
from stages.contract import ItemBalance, Part, PartDraft, PartRecord, Recipe, StageContext, StageError, stage
from stages.formats.draws import DrawFacts, drawn_by_source
from stages.formats.fit_sample import MAX_FRAME_PIXELS_PX, MAX_FRAMES, MIN_FRAME_PIXELS_PX, Limits
from stages.formats.sample_sources import SampleArtifact, SampleSource, SourceArtifact, SourcePart, open_source
from stages.formats.sample_table import write_table
from stages.mixing.held_out import HELD_OUT, Trainable, hold_out_part, mark_part
from stages.mixing.shares import Allotment, allot, drawings
from stages.mixing.token_counts import Scale, Weights, weigh_part
from stages.store.store import Store

NOT_DRAWN = "not_drawn"
"""The reason of samples that are not needed to make the shares."""
SourceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
"""Name of a source in a mixture: a letter, then letters, digits and `_`, 40 characters at most."""


class MixRecipe(Recipe):
    """The sources of a draw, their shares, and its size."""

    shares: dict[SourceName, Annotated[float, Field(gt=0)]]
    """Share of each source, as any positive numbers: 3:7 text to pairs is {"text": 3, "pairs": 7}."""
    unit: Literal["samples", "tokens"] = "samples"
    """What the shares count. Tokens are counted as in packing where a language model is bound, else estimated."""
    num_samples: int | None = Field(default=None, ge=1)
    """Samples in the whole draw; None draws until a source has been passed over `max_epochs` times."""
    max_epochs: dict[SourceName, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """How many times a source may be passed over, 1 where it is not named. A draw that needs more is refused."""
    purpose: Literal["train", "examine"] = "train"
    """What the draw is for. Held-out splits can be drawn only to examine a model; no stage trains on such rows."""
    seed: int = 0
    """Seed of the order of the draw, and of which samples of a source are drawn."""
    bytes_per_token: float = Field(default=4.0, gt=0)
    """UTF-8 bytes of text in one token, where tokens are estimated."""
    max_sample_tokens: int | None = Field(default=None, ge=2)
    """Longest document after packing, in tokens, where the shares count tokens; None sets no limit."""
    min_pixels_px: int = Field(default=65_536, ge=1)
    """Smallest picture after resizing, in pixels, where the shares count tokens."""
    max_pixels_px: int = Field(default=4_194_304, ge=1)
    """Largest picture after resizing, in pixels, where the shares count tokens."""
    pictures_share_pixels: bool = False
    """Whether several pictures of a sample share a budget as `pack_rows` lets them, where the shares count tokens."""
    min_frame_pixels_px: int = Field(default=MIN_FRAME_PIXELS_PX, ge=1)
    """Smallest frame of a clip after resizing, in pixels, where the shares count tokens."""
    max_frame_pixels_px: int = Field(default=MAX_FRAME_PIXELS_PX, ge=1)
    """Largest frame of a clip after resizing, in pixels, where the shares count tokens."""
    max_frames: int = Field(default=MAX_FRAMES, ge=1)
    """Most frames of one clip, where the shares count tokens."""

    @property
    def limits(self) -> Limits:
        """The limits under which tokens of a sample are counted."""
        return Limits(
            max_tokens=self.max_sample_tokens or sys.maxsize,
            min_pixels_px=self.min_pixels_px,
            max_pixels_px=self.max_pixels_px,
            min_frame_pixels_px=self.min_frame_pixels_px,
            max_frame_pixels_px=self.max_frame_pixels_px,
            max_frames=self.max_frames,
            pictures_share_pixels=self.pictures_share_pixels,
        )


def draw_part(
    part: Part,
    draft: PartDraft,
    *,
    sources: Mapping[str, Trainable],
    allotment: Allotment,
    weights: Weights | None,
    seed: int,
) -> None:
    """Draw from one part of a source, into `draw.parquet`; `weights` are given where shares count tokens."""
    import pyarrow as pa

    task = SourcePart.of(part)
    source = task.source
    table = sources[source].table(task.part)
    num_held_out = sources[source].num_held_out(task.part)
    samples, repetitions, places = drawings(allotment, source, task.first, table.num_rows, seed)
    drawn = table.select(["sample_id", "position"]).take(pa.array(samples))
    columns = {
        "source": pa.array([source] * len(samples), pa.string()),
        "sample_id": drawn["sample_id"],
        "repetition": pa.array(repetitions, pa.int32()),
        "part": pa.array([task.part] * len(samples), pa.string()),
        "position": drawn["position"],
        "place": pa.array(places, pa.int64()),
    }
    write_table(pa.table(columns), draft.path(DRAW_FILE))
    num_distinct = int((repetitions == 0).sum())
    dropped = {NOT_DRAWN: table.num_rows - num_distinct, HELD_OUT: num_held_out}
    draft.count(ItemBalance(kept=len(samples), dropped={why: number for why, number in dropped.items() if number}))
    facts = DrawFacts(
        source=source,
        part=task.part,
        num_samples=table.num_rows,
        num_held_out=num_held_out,
        num_distinct=num_distinct,
        num_drawn=len(samples),
    )
    draft.fact(**facts.dump())
    if carried := carried_counts(table, samples):
        draft.fact(**{CARRIED_COUNTS: carried})
    if weights is not None:
        draft.fact(num_tokens=float(weights.of_part(part.name)[samples].sum()))


@stage(
    number=3,
    recipe=MixRecipe,
    makes=Draw,
    accepts=(1, 2),
    phases=(MARK_PHASE, HOLD_OUT_PHASE, WEIGH_PHASE, DRAW_PHASE),
)
def mix_samples(
    recipe: MixRecipe,
    sources: Mapping[str, KeptPairs | RawClips | KeptClips | TextDocuments | KeptTexts | Conversations],
    heldout: Mapping[str, RawPairs | KeptPairs | RawClips | KeptClips | TextDocuments | KeptTexts | Conversations]
    | None,
    llm: BaseLlm | Checkpoint | ExportedCheckpoint | None,
    *,
    ctx: StageContext,
) -> None:
    """List held-out samples, count tokens where shares are in tokens, then draw from each part of each source."""
    _check(recipe, sources, heldout or {}, llm)
    store = next(iter(sources.values())).store
    opened = {name: open_source(artifact) for name, artifact in sources.items()}
    held_out = _held_out(opened, heldout, store, ctx) if heldout else ()
    trainable = {name: Trainable.of(name, source, store, held_out) for name, source in opened.items()}
    parts = _parts(trainable)
    num_kept = {name: sum(source.num_kept.values()) for name, source in trainable.items()}
    mean_tokens, weights = dict.fromkeys(sources, 1.0), None
    if recipe.unit == "tokens":
        scale = Scale(recipe.limits, recipe.bytes_per_token, llm)
        weighed = ctx.spread(partial(weigh_part, sources=trainable, scale=scale), over=parts, phase=WEIGH_PHASE)
        weights = Weights(store, {record.part: record for record in weighed})
        mean_tokens = {name: weights.of_source(name) / max(1, num_kept[name]) for name in sources}
    allotment = allot(
        recipe.shares, num_kept, mean_tokens, num_samples=recipe.num_samples, max_epochs=recipe.max_epochs
    )
    drawing = partial(draw_part, sources=trainable, allotment=allotment, weights=weights, seed=recipe.seed)
    ctx.report(_numbers(drawn_by_source(ctx.spread(drawing, over=parts, phase=DRAW_PHASE))))


def _numbers(drawn: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Metrics of each source: drawings, held-out samples, passes, and tokens where they were counted."""
    numbers: dict[str, float] = {}
    for source, counts in drawn.items():
        numbers |= {f"{what}_{source}": counts[what] for what in ("drawn", "held_out", "tokens") if what in counts}
        numbers[f"epochs_{source}"] = counts["drawn"] / counts["samples"]
    return numbers


def _held_out(
    sources: Mapping[str, SampleSource], heldout: Mapping[str, SampleArtifact], store: Store, ctx: StageContext
) -> tuple[PartRecord, ...]:
    """The records that say which samples of the sources are held out."""
    examined = {name: open_source(artifact) for name, artifact in heldout.items()}
    marked = ctx.spread(partial(mark_part, held_out=examined), over=_parts(examined), phase=MARK_PHASE)
    marks = tuple(record.file(MARKS_FILE) for record in marked)
    finding = partial(hold_out_part, sources=sources, store=store, marks=marks)
    return ctx.spread(finding, over=_parts(sources), phase=HOLD_OUT_PHASE)


def _parts(sources: Mapping[str, SampleSource]) -> list[Part]:
    """A part for each part of each source; its task counts the samples of the source in earlier parts."""
    parts: list[Part] = []
    for name, source in sorted(sources.items()):
        first = 0
        for part, num_kept in source.num_kept.items():
            parts.append(Part(name=f"{name}-{part}", task=SourcePart(source=name, part=part, first=first).dump()))
            first += num_kept
    return parts


def _check(
    recipe: MixRecipe,
    sources: Mapping[str, SourceArtifact],
    heldout: Mapping[str, SampleArtifact],
    llm: ModelFolder | None,
) -> None:
    """Raise `StageError` where inputs do not fit the recipe or each other, or a source was held out from training."""
    _check_named_alike(recipe, sources)
    _check_llm_is_used(recipe, llm)
    _check_not_empty("source", sources)
    _check_not_empty("held-out", heldout)
    if recipe.purpose == "train":
        _check_none_held_out(sources)


def _check_named_alike(recipe: MixRecipe, sources: Mapping[str, SourceArtifact]) -> None:
    if recipe.shares.keys() != sources.keys() or not recipe.max_epochs.keys() <= sources.keys():
        raise StageError(
            f"shares are given for {sorted(recipe.shares)}, epochs for {sorted(recipe.max_epochs)}, "
            f"and the sources are {sorted(sources)}; name each source once in `shares`"
        )


def _check_llm_is_used(recipe: MixRecipe, llm: ModelFolder | None) -> None:
    if llm is not None and recipe.unit == "samples":
        raise StageError(f"the shares count samples and {llm!r} counts tokens; leave it out, or set unit='tokens'")


def _check_not_empty(role: str, artifacts: Mapping[str, SampleArtifact]) -> None:
    for name, artifact in artifacts.items():
        if artifact.head.items.kept == 0:
            raise StageError(f"{role} {name!r} ({artifact!r}) holds no kept sample; see why: neo show {artifact.short}")


def _check_none_held_out(sources: Mapping[str, SourceArtifact]) -> None:
    for name, artifact in sources.items():
        for manifest in ancestry(artifact):
            if manifest.recipe.get("split") == "heldout":
                raise StageError(
                    f"source {name!r} ({artifact!r}) comes from the held-out split, by {manifest.stage}: "
                    "what a model is examined on may not be trained on; bind a source of the training split, "
                    "or set purpose='examine'"
                )
