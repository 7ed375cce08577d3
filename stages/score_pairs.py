"""Scores pairs by models: how well pictures fit their captions, by CLIP, and how much people like them.

Reads  RawPairs    parts: pairs.tar and samples.parquet
       KeptPairs   in its place: what other stages kept of it, with the captions that they gave it
       sources: a CLIP as a folder in safetensors, and the head of an aesthetic score, if any
Makes  KeptPairs   parts: verdicts.parquet, a row for each pair; columns.parquet, with a column for each score

It drops nothing but pairs that cannot be scored: `filter_pairs` after it finds the scores as columns of the pairs, in
place of those of the same name that the table brought along. Pairs are scored in batches on the GPU that the site gives
the phase, or on the CPU. Time grows with the pairs; memory holds one part's table and one batch of pictures. Scores are
rounded to four decimal places: further ones differ between machines.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from itertools import islice, repeat
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from stages.artifacts.kinds import COLUMNS_FILE, VERDICTS_FILE, KeptPairs, RawPairs
from stages.contract import (
    PROFILE_PHASE,
    Part,
    PartDraft,
    PinnedSource,
    Recipe,
    Source,
    StageContext,
    StageError,
    conduct,
    stage,
)
from stages.formats.losses import MAX_SHARE_LOST, check_losses, examples_of
from stages.formats.pairs import Pair, PairReader
from stages.formats.sample_table import ItemReason, Verdict, balance_of, verdict_columns, with_columns, write_table
from stages.model_folders.folder import ForeignFolder
from stages.pair_scores.clip_scorer import ClipScorer, check_clip, load_clip
from stages.pair_scores.local_model import local_model
from stages.profiles.example_pictures import PairPictures
from stages.profiles.pictures import ProfileSubject, draw_profile, keep_profile
from stages.profiles.profile import PAIR_COLUMNS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_DECODED_PX = 100_000_000
"""Largest picture that is decoded, in pixels."""
SCORE_DIGITS = 4
"""Decimal places of a score."""
OWN_COLUMNS = frozenset(
    ("sample_id", "url", "caption", "sha256", "width_px", "height_px", "verdict", "reason", "position", "key")
)
"""Columns of pairs that a score may not take the place of."""
ColumnName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,59}$")]
"""Name of a column of scores."""


class ScorePairsRecipe(Recipe):
    """Which models score, and what the scores are called."""

    clip: Source
    """The CLIP: a folder as a model hub serves it, with config.json, tokenizer.json and safetensors."""
    aesthetic_head: Source | None = None
    """One safetensors file with the linear layers of an aesthetic score, trained for this CLIP; None makes no such
    score."""
    similarity_column: ColumnName = "similarity"
    """Name of the column with the cosine between the embeddings of picture and caption, from -1 to 1."""
    aesthetic_column: ColumnName = "aesthetic"
    """Name of the column with the aesthetic score."""
    num_at_once: int = conduct(64, ge=1, le=10_000)
    """Pairs in one batch."""
    max_share_lost: float = conduct(MAX_SHARE_LOST, ge=0, le=1)
    """Share of the pairs that may be lost for one reason before the step fails; 1 takes anything."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for name in (self.similarity_column, self.aesthetic_column):
            if name in OWN_COLUMNS:
                raise ValueError(f"{name!r} is a column that pairs have already; give the score another name")
        if self.similarity_column == self.aesthetic_column:
            raise ValueError(f"both scores are called {self.similarity_column!r}; give one of them another name")
        return self


class ScoreReason(ItemReason):
    """Why a pair has no score: a closed list."""

    PICTURE_UNREADABLE = "picture_unreadable", Verdict.FAILED
    """The stored picture cannot be decoded."""
    SCORE_NOT_FINITE = "score_not_finite", Verdict.FAILED
    """The model gave no number (NaN or infinity)."""


Scored = tuple[float, float | None] | ScoreReason
"""Similarity and aesthetic score of a pair, or why it has none."""


@lru_cache(maxsize=1)
def _scorer(clip: PinnedSource, head: PinnedSource | None) -> ClipScorer:
    """The models, loaded once in each process."""
    file = None if head is None else local_model(head) / weights_of(head)
    return load_clip(local_model(clip), file)


def weights_of(head: PinnedSource) -> str:
    """Name of the one file of safetensors of a head. Raises `StageError` where there is none, or several."""
    names = [file.path for file in head.files if file.path.endswith(".safetensors")]
    if len(names) != 1:
        raise StageError(
            f"source {head.name!r} has {len(names)} files of safetensors; a head is one, and weights in pickles are "
            "never opened"
        )
    return names[0]


def _pixels(pair: Pair, reader: PairReader) -> NDArray[np.uint8] | None:
    from neo_model.inputs.pictures import PictureError, open_pixels

    try:
        return open_pixels(reader.image_of(pair.image), max_pixels_px=MAX_DECODED_PX)
    except PictureError:
        return None


def score_batch(pairs: Sequence[Pair], reader: PairReader, scorer: ClipScorer) -> Iterator[Scored]:
    """The scores of some pairs, in their order."""
    pictures = [_pixels(pair, reader) for pair in pairs]
    readable = [number for number, picture in enumerate(pictures) if picture is not None]
    scores: dict[int, tuple[float, float | None]] = {}
    if readable:
        seen = [picture for picture in pictures if picture is not None]
        similarity, liked = scorer.scores(seen, [pairs[number].caption for number in readable])
        for number, fit, like in zip(readable, similarity, liked or repeat(None), strict=False):
            scores[number] = (fit, like)
    for number in range(len(pairs)):
        yield _judged(scores.get(number))


def _judged(scores: tuple[float, float | None] | None) -> Scored:
    if scores is None:
        return ScoreReason.PICTURE_UNREADABLE
    if not all(math.isfinite(one) for one in scores if one is not None):
        return ScoreReason.SCORE_NOT_FINITE
    similarity, liked = scores
    return round(similarity, SCORE_DIGITS), None if liked is None else round(liked, SCORE_DIGITS)


def score_part(
    part: Part,
    draft: PartDraft,
    *,
    reader: PairReader,
    recipe: ScorePairsRecipe,
    clip: PinnedSource,
    head: PinnedSource | None,
) -> None:
    """Score the pairs of one part, in `columns.parquet`."""
    import pyarrow as pa

    scorer, waiting = _scorer(clip, head), reader.pairs_of(part.name)
    scored: list[Scored] = []
    while pairs := list(islice(waiting, recipe.num_at_once)):
        scored += score_batch(pairs, reader, scorer)
        draft.progress(len(scored))
    table = reader.read_table(part.name, PAIR_COLUMNS)
    reasons = [one if isinstance(one, ScoreReason) else None for one in scored]
    scores = [(None, None) if isinstance(one, ScoreReason) else one for one in scored]
    given = {recipe.similarity_column: pa.array([one for one, _ in scores], pa.float32())}
    if head is not None:
        given[recipe.aesthetic_column] = pa.array([one for _, one in scores], pa.float32())
    verdicts = pa.table({"sample_id": table["sample_id"], **verdict_columns(reasons)})
    write_table(verdicts, draft.path(VERDICTS_FILE))
    write_table(pa.table(given), draft.path(COLUMNS_FILE))
    draft.count(balance_of(verdicts))
    shown = table.append_column("reason", verdicts["reason"])
    draft.fact(**examples_of(shown, ("url", "caption"), first_row=None))
    measured = dict(zip(("similarity", "aesthetic"), given.values(), strict=False))
    keep_profile(draft, with_columns(with_columns(table, verdicts), pa.table(measured)), part.name, len(reader.parts))


@stage(number=1, recipe=ScorePairsRecipe, makes=KeptPairs, phases=("score", PROFILE_PHASE), part_by_part="raw")
def score_pairs(recipe: ScorePairsRecipe, raw: RawPairs | KeptPairs, *, ctx: StageContext) -> None:
    """Score all kept pairs of `raw`, a part for each of its parts."""
    clip = ctx.pinned(recipe.clip)
    head = None if recipe.aesthetic_head is None else ctx.pinned(recipe.aesthetic_head)
    folder = ForeignFolder(clip)
    check_clip(folder.read_config(), list(folder.files), clip.name)
    if head is not None:
        weights_of(head)
    reader = PairReader(raw)
    work = partial(score_part, reader=reader, recipe=recipe, clip=clip, head=head)
    records = ctx.spread(work, over=reader.parts_to_judge, phase="score")
    subject = ProfileSubject(title=f"score_pairs of {raw.stage}/{raw.short}", items="pairs")
    draw_profile(ctx, records, subject, PairPictures(reader.images))
    check_losses(records, recipe.max_share_lost, items="pairs")
