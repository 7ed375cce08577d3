"""Draw the samples that a training stage is to see, from several sources by stated shares.

Reads  KeptPairs, TextDocuments, Conversations   under names of the user's choice; their sample tables alone
Makes  Draw                                      parts: draw.parquet, a row for each drawing of a sample of one part
                                                 of a source, with its `place` in the one order of the whole draw

The order of a draw, and which samples of a source it takes, are keyed permutations (`stages/shuffle.py`): each part
computes its own drawings, nothing is held in memory or sorted, and any number of workers draw the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from neo_model.pictures import PictureError, num_image_tokens
from stages.ancestry import ancestry
from stages.contract import ItemBalance, Part, PartDraft, Recipe, StageContext, StageError
from stages.kinds import Conversations, Draw, KeptPairs, TextDocuments
from stages.shuffle import Shuffle
from stages.sources import Sample, Source, SourceArtifact, open_source
from stages.step import stage
from stages.tables import write_table

if TYPE_CHECKING:
    from stages.shuffle import Whole

DRAW_FILE = "draw.parquet"
DRAW_PHASE = "draw"
NOT_DRAWN = "not_drawn"
"""The reason of samples that the draw had no place for."""
SourceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class MixRecipe(Recipe):
    shares: dict[SourceName, Annotated[float, Field(gt=0)]]
    """Share of each source, as any positive numbers: 3:7 text to pairs is {"text": 3, "pairs": 7}."""
    unit: Literal["samples", "tokens"] = "samples"
    """What the shares count. Tokens are estimated here, before there is a tokenizer; packing counts them."""
    num_samples: int | None = Field(default=None, ge=1)
    """Samples in the whole draw; None draws until a source has been passed over `max_epochs` times."""
    max_epochs: dict[SourceName, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """How many times a source may be passed over, 1 where it is not named. A draw that needs more is refused."""
    seed: int = 0
    """Names the order of the draw and the samples of a part-used source."""
    bytes_per_token: float = Field(default=4.0, gt=0)
    """UTF-8 bytes of text in one token, where tokens are estimated."""
    min_pixels_px: int = Field(default=65_536, ge=1)
    """Smallest picture after resizing, in pixels, where tokens are estimated."""
    max_pixels_px: int = Field(default=4_194_304, ge=1)
    """Largest picture after resizing, likewise."""


@dataclass(frozen=True)
class Allotment:
    """How many samples of each source are drawn, of how many."""

    num_kept: Mapping[str, int]
    num_drawn: Mapping[str, int]

    @property
    def total(self) -> int:
        return sum(self.num_drawn.values())

    def first_slot(self, source: str) -> int:
        """Where the drawings of a source begin before they are shuffled among the others."""
        return sum(drawn for name, drawn in self.num_drawn.items() if name < source)

    def numbers(self) -> dict[str, float]:
        """What was drawn, for people to watch."""
        drawn = {f"drawn_{source}": float(drawn) for source, drawn in self.num_drawn.items()}
        return drawn | {f"epochs_{name}": drawn / self.num_kept[name] for name, drawn in self.num_drawn.items()}


def allot(recipe: MixRecipe, num_kept: Mapping[str, int], mean_tokens: Mapping[str, float]) -> Allotment:
    """How many samples of each source make the shares. Raises `StageError` where a source has too few.

    `mean_tokens` is the estimated mean length of a sample of each source, or 1 where shares count samples.
    """
    weights = {source: share / mean_tokens[source] for source, share in sorted(recipe.shares.items())}
    most = {source: recipe.max_epochs.get(source, 1.0) * num_kept[source] for source in weights}
    if recipe.num_samples is None:
        scale = min(most[source] / weight for source, weight in weights.items())
    else:
        scale = recipe.num_samples / sum(weights.values())
    num_drawn = _whole({source: weight * scale for source, weight in weights.items()})
    for source, drawn in num_drawn.items():
        if drawn > math.ceil(most[source]):
            raise StageError(
                f"source {source!r} has {num_kept[source]} samples and its share is {drawn}: "
                f"{drawn / num_kept[source]:.2f} passes over it; allow them with "
                f'max_epochs={{"{source}": {math.ceil(drawn / num_kept[source])}}}, or draw fewer samples'
            )
        if drawn == 0:
            raise StageError(f"source {source!r} gets no sample of {recipe.num_samples}; draw more, or leave it out")
    return Allotment(num_kept={source: num_kept[source] for source in num_drawn}, num_drawn=num_drawn)


def _whole(quotas: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers near the quotas, with their rounded sum: the largest remainders are rounded up."""
    floors = {source: math.floor(quota) for source, quota in quotas.items()}
    num_missing = round(sum(quotas.values())) - sum(floors.values())
    by_remainder = sorted(quotas, key=lambda source: floors[source] - quotas[source])
    return {source: floor + (source in by_remainder[:num_missing]) for source, floor in floors.items()}


def drawings(allotment: Allotment, source: str, first: int, num_samples: int, seed: int) -> tuple[Whole, Whole, Whole]:
    """The drawings of the samples `first` to `first + num_samples` - 1 of a source.

    Returns for each the number of the sample counted from `first`, its repetition and its place in the draw, ordered
    by sample and repetition. A source's samples are passed over in a shuffled order, again and again until its number
    is drawn; so every sample is drawn equally often, give or take one.
    """
    import numpy as np

    kept, drawn = allotment.num_kept[source], allotment.num_drawn[source]
    turns = Shuffle(kept, f"{seed}/turn/{source}").places(np.arange(first, first + num_samples))
    num_passes = -(-drawn // kept)
    slots = turns[:, None] + kept * np.arange(num_passes)
    samples, repetitions = np.nonzero(slots < drawn)
    chosen = slots[samples, repetitions] + allotment.first_slot(source)
    return samples, repetitions, Shuffle(allotment.total, f"{seed}/place").places(chosen)


def estimate_tokens(sample: Sample, recipe: MixRecipe) -> float:
    """About how many tokens a sample will be. A picture that can be no model's input counts for its text alone."""
    num_tokens = sample.num_text_bytes / recipe.bytes_per_token
    for pair in sample.pictures:
        try:
            size = num_image_tokens(pair.width_px, pair.height_px, recipe.min_pixels_px, recipe.max_pixels_px)
        except PictureError:
            continue
        num_tokens += size + 2
    return num_tokens


def weigh_part(part: Part, draft: PartDraft, sources: Mapping[str, Source], recipe: MixRecipe) -> None:
    """Estimate the tokens of all samples of one part of a source."""
    samples = sources[part.task["source"]].samples(part.task["part"])
    draft.fact(estimated_tokens=sum(estimate_tokens(sample, recipe) for sample in samples))


def draw_part(part: Part, draft: PartDraft, sources: Mapping[str, Source], allotment: Allotment, seed: int) -> None:
    """Draw from one part of a source."""
    import pyarrow as pa

    source = part.task["source"]
    table = sources[source].table(part.task["part"])
    samples, repetitions, places = drawings(allotment, source, part.task["first"], table.num_rows, seed)
    drawn = table.select(["sample_id", "position"]).take(pa.array(samples))
    columns = {
        "source": pa.array([source] * len(samples), pa.string()),
        "sample_id": drawn["sample_id"],
        "repetition": pa.array(repetitions, pa.int32()),
        "part": pa.array([part.task["part"]] * len(samples), pa.string()),
        "position": drawn["position"],
        "place": pa.array(places, pa.int64()),
    }
    write_table(pa.table(columns), draft.path(DRAW_FILE))
    num_not_drawn = table.num_rows - int((repetitions == 0).sum())
    draft.count(ItemBalance(kept=len(samples), dropped={NOT_DRAWN: num_not_drawn} if num_not_drawn else {}))
    draft.fact(source=source, part=part.task["part"], num_drawn=len(samples), num_samples=table.num_rows)


@stage(number=1, recipe=MixRecipe, makes=Draw)
def mix_samples(
    recipe: MixRecipe, sources: Mapping[str, KeptPairs | TextDocuments | Conversations], *, ctx: StageContext
) -> None:
    _check(recipe, sources)
    opened = {name: open_source(artifact) for name, artifact in sources.items()}
    parts = _parts(opened)
    num_kept = {name: sum(source.num_kept.values()) for name, source in opened.items()}
    mean_tokens = dict.fromkeys(sources, 1.0)
    if recipe.unit == "tokens":
        weighed = ctx.spread(partial(weigh_part, sources=opened, recipe=recipe), over=parts, phase="weigh")
        tokens = dict.fromkeys(sources, 0.0)
        for part, record in zip(parts, weighed, strict=True):
            tokens[part.task["source"]] += record.facts["estimated_tokens"]
        mean_tokens = {name: tokens[name] / num_kept[name] for name in sources}
    allotment = allot(recipe, num_kept, mean_tokens)
    ctx.report(allotment.numbers())
    ctx.spread(partial(draw_part, sources=opened, allotment=allotment, seed=recipe.seed), over=parts, phase=DRAW_PHASE)


def _parts(sources: Mapping[str, Source]) -> list[Part]:
    """One part for each part of each source, which knows how many samples of its source come before its own."""
    parts: list[Part] = []
    for name, source in sorted(sources.items()):
        first = 0
        for part, num_kept in source.num_kept.items():
            parts.append(Part(name=f"{name}-{part}", task={"source": name, "part": part, "first": first}))
            first += num_kept
    return parts


def _check(recipe: MixRecipe, sources: Mapping[str, SourceArtifact]) -> None:
    """Raise `StageError` where shares and sources differ, a source is empty, or one was held out from training."""
    if recipe.shares.keys() != sources.keys() or not recipe.max_epochs.keys() <= sources.keys():
        raise StageError(
            f"shares are given for {sorted(recipe.shares)}, epochs for {sorted(recipe.max_epochs)}, "
            f"and the sources are {sorted(sources)}; name each source once in `shares`"
        )
    for name, artifact in sources.items():
        if artifact.manifest.items.kept == 0:
            raise StageError(f"source {name!r} ({artifact!r}) holds no kept sample; nothing can be drawn from it")
        for manifest in ancestry(artifact):
            if manifest.recipe.get("split") == "heldout":
                raise StageError(
                    f"source {name!r} ({artifact!r}) comes from the held-out split, by {manifest.stage}: "
                    "what a model is examined on may not be trained on; bind a source of the training split"
                )
