"""Judges which clips are worth learning from, and drops those that are nearly the same as earlier ones.

Reads  RawClips    parts: samples.parquet and the frames in clips.tar
Makes  KeptClips   phase measure: `measured.parquet`, what the frames of each clip measure, and what is against it
                   phase compare: `near_NN.parquet`, clips that are nearly the same as earlier ones of the whole set
                   phase judge: verdicts.parquet, a row for each clip, with its measures; frames stay in RawClips

The frames of a clip are read where nothing in its row is against it. A clip is compared with others where nothing in
its frames is, so that it never gives way to one that is dropped itself. A frame that is not as it was committed stops
the part: a verdict would be committed for good, while the store can be repaired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from pydantic import Field

from stages.artifacts.kinds import VERDICTS_FILE, KeptClips, RawClips
from stages.artifacts.phase_files import read_file
from stages.artifacts.records import PartRecord
from stages.clip_filters.comparing import MeasuredClipFacts, compare_clips, duplicates_of_part, key_ranges
from stages.clip_filters.frame_measures import FrameError, FrameMeasures, measure_frames, small_grey
from stages.clip_filters.measured import (
    MEASURED_FILE,
    SCORES,
    MeasuredClip,
    measured_table,
    stretch_digest,
    text_digest,
)
from stages.clip_filters.near_duplicates import MAX_BITS
from stages.contract import PROFILE_PHASE, Part, PartDraft, PartTask, StageContext, conduct, stage
from stages.formats.clip_reader import ClipReader, UndecodableClipError
from stages.formats.clips import Clip
from stages.formats.losses import MAX_SHARE_LOST, check_losses, examples_of
from stages.formats.sample_table import (
    ItemReason,
    Verdict,
    balance_of,
    read_table,
    sample_id_type,
    verdict_columns,
    write_table,
)
from stages.origins.scores import (
    ItemScores,
    RuleFacts,
    Score,
    ScoreFields,
    ScoreName,
    check_scores_applied,
    check_scores_of,
    count_scores,
    fault_of_scores,
    rows_of_scores,
    score_columns,
    score_fields,
)
from stages.pair_filters.captions import repeated_share, says_nothing
from stages.profiles.example_pictures import ClipPictures
from stages.profiles.pictures import ProfileSubject, draw_profile, keep_profile
from stages.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = ("url", "start_seconds", "end_seconds", "caption", *SCORES, "duplicate_of")
"""Columns that an example of a dropped clip shows, before those that hold its scores."""


class FilterClipsRecipe(ScoreFields):
    """Limits that a clip must meet to be kept. Levels of grey run from 0, black, to 255, white."""

    min_side_px: int = Field(default=64, ge=1)
    """Smallest shorter side of the frames, in pixels."""
    max_aspect: float = Field(default=3.0, ge=1)
    """Largest aspect ratio of the frames: long side over short side."""
    min_duration_seconds: float = Field(default=1.0, ge=0)
    """Shortest clip, in seconds."""
    max_duration_seconds: float = Field(default=3600.0, gt=0)
    """Longest clip, in seconds."""
    min_frames: int = Field(default=2, ge=1)
    """Fewest frames that were taken of a clip; one frame shows no motion and is not judged by it."""
    min_caption_chars: int = Field(default=5, ge=0)
    """Shortest caption, in characters; 0 keeps clips without a caption too, as conversations about clips need them."""
    max_caption_chars: int = Field(default=8000, ge=1)
    """Longest caption, in characters."""
    max_caption_repetition: float = Field(default=0.5, ge=0, le=1)
    """Largest share of the caption's runs of three words that stand in it before, as recognised speech loops; judged
    from ten words on."""
    max_black_level: int = Field(default=16, ge=0, le=255)
    """A clip is black where no cell of a frame, a 32nd of its width and height, has a higher mean level."""
    min_luma: float = Field(default=20.0, ge=0, le=255)
    """Smallest mean level of all frames; below it a clip is too dark."""
    min_contrast: int = Field(default=12, ge=0, le=255)
    """Smallest difference between the brightest and the darkest cell of some frame, in levels: less is one colour."""
    min_motion: float = Field(default=0.5, ge=0, le=255)
    """Smallest mean difference between frames that are a second apart, in levels; below it a clip stands still."""
    max_flicker: float = Field(default=100.0, ge=0, le=255)
    """Largest mean difference between one frame that was taken and the next, in levels; above it a clip flickers."""
    max_near_bits: int | None = Field(default=MAX_BITS, ge=0, le=MAX_BITS)
    """Largest distance at which a clip is nearly the same as an earlier one: differing bits of 192, of the hashes of
    three frames; None compares no clips."""
    max_share_lost: float = conduct(MAX_SHARE_LOST, ge=0, le=1)
    """Share of the clips that may be dropped for one reason before the step fails; 1 takes anything."""


class ClipDropReason(ItemReason):
    """Why a clip was dropped: a closed list."""

    TOO_SMALL = "too_small"
    """The shorter side of the frames is below `min_side_px`."""
    TOO_ELONGATED = "too_elongated"
    """The aspect ratio of the frames is above `max_aspect`."""
    TOO_SHORT = "too_short"
    """The clip is shorter than `min_duration_seconds`."""
    TOO_LONG = "too_long"
    """The clip is longer than `max_duration_seconds`."""
    TOO_FEW_FRAMES = "too_few_frames"
    """Fewer than `min_frames` frames were taken of the clip."""
    CAPTION_EMPTY = "caption_empty"
    """The caption has no letter or digit, or is the name of a file."""
    CAPTION_TOO_SHORT = "caption_too_short"
    """The caption has fewer than `min_caption_chars` characters."""
    CAPTION_TOO_LONG = "caption_too_long"
    """The caption has more than `max_caption_chars` characters."""
    CAPTION_REPETITIVE = "caption_repetitive"
    """More than `max_caption_repetition` of the caption repeats what it says before."""
    MISMATCHED = "mismatched"
    """The similarity of frames and caption is below `min_similarity`."""
    UNSAFE = "unsafe"
    """The clip is unsafe with a probability above `max_punsafe`, or its tag is worse than `worst_nsfw_tag`."""
    WATERMARKED = "watermarked"
    """The clip has a watermark with a probability above `max_pwatermark`."""
    SCORE_UNREADABLE = "score_unreadable", Verdict.FAILED
    """A score is there and is no number: NaN, infinity, or text that spells none."""
    FRAMES_UNREADABLE = "frames_unreadable", Verdict.FAILED
    """A frame, or the packets of the clip, are as they were stored, and do not decode."""
    BLACK = "black"
    """No part of a frame is brighter than `max_black_level`."""
    TOO_DARK = "too_dark"
    """The mean level of all frames is below `min_luma`."""
    ONE_COLOUR = "one_colour"
    """No frame has a contrast of `min_contrast`."""
    STATIC = "static"
    """Frames that are a second apart differ by less than `min_motion`."""
    FLICKERING = "flickering"
    """One frame and the next differ by more than `max_flicker`."""
    NEAR_DUPLICATE = "near_duplicate"
    """An earlier clip differs in at most `max_near_bits` of 192 bits; `duplicate_of` names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFacts(ItemScores):
    """What the row of a clip says of it. A score is None where the table of videos had none."""

    width_px: int
    """Width of the frames, upright, in pixels."""
    height_px: int
    """Height of the frames, upright, in pixels."""
    duration_seconds: float
    """Length of the clip, in seconds."""
    num_frames: int
    """Frames that were taken of it."""
    caption: str
    """Text of this stretch of the video, "" where there is none."""


def reason_of_row(clip: ClipFacts, recipe: FilterClipsRecipe) -> ClipDropReason | None:
    """The first reason to drop a clip that its row gives: by size, length, caption, scores; None finds nothing."""
    return _of_shape(clip, recipe) or _of_caption(clip.caption, recipe) or _of_scores(clip, recipe)


def _of_shape(clip: ClipFacts, recipe: FilterClipsRecipe) -> ClipDropReason | None:
    short_px, long_px = sorted((clip.width_px, clip.height_px))
    if short_px < recipe.min_side_px:
        return ClipDropReason.TOO_SMALL
    if long_px > short_px * recipe.max_aspect:
        return ClipDropReason.TOO_ELONGATED
    if clip.duration_seconds < recipe.min_duration_seconds:
        return ClipDropReason.TOO_SHORT
    if clip.duration_seconds > recipe.max_duration_seconds:
        return ClipDropReason.TOO_LONG
    return ClipDropReason.TOO_FEW_FRAMES if clip.num_frames < recipe.min_frames else None


def _of_caption(caption: str, recipe: FilterClipsRecipe) -> ClipDropReason | None:
    if not caption and recipe.min_caption_chars == 0:
        return None
    if says_nothing(caption):
        return ClipDropReason.CAPTION_EMPTY
    if len(caption) < recipe.min_caption_chars:
        return ClipDropReason.CAPTION_TOO_SHORT
    if len(caption) > recipe.max_caption_chars:
        return ClipDropReason.CAPTION_TOO_LONG
    return ClipDropReason.CAPTION_REPETITIVE if repeated_share(caption) > recipe.max_caption_repetition else None


def _of_scores(clip: ClipFacts, recipe: FilterClipsRecipe) -> ClipDropReason | None:
    fault = fault_of_scores(clip, recipe.score_limits)
    return None if fault is None else ClipDropReason.spelled(fault)


def reason_of_frames(measures: FrameMeasures, recipe: FilterClipsRecipe) -> ClipDropReason | None:
    """The first reason to drop a clip that its frames give: by brightness, then motion; None finds nothing."""
    if measures.brightest <= recipe.max_black_level:
        return ClipDropReason.BLACK
    if measures.luma < recipe.min_luma:
        return ClipDropReason.TOO_DARK
    if measures.contrast < recipe.min_contrast:
        return ClipDropReason.ONE_COLOUR
    if measures.motion is not None and measures.motion < recipe.min_motion:
        return ClipDropReason.STATIC
    is_flickering = measures.flicker is not None and measures.flicker > recipe.max_flicker
    return ClipDropReason.FLICKERING if is_flickering else None


MEASURE_OF: Final = {
    ClipDropReason.MISMATCHED.value: "similarity",
    ClipDropReason.UNSAFE.value: "punsafe",
    ClipDropReason.WATERMARKED.value: "pwatermark",
    ClipDropReason.TOO_SHORT.value: "duration_seconds",
    ClipDropReason.TOO_LONG.value: "duration_seconds",
    ClipDropReason.TOO_DARK.value: "luma",
    ClipDropReason.ONE_COLOUR.value: "contrast",
    ClipDropReason.STATIC.value: "motion",
    ClipDropReason.FLICKERING.value: "flicker",
}
"""Reason to the measure that it follows from."""


def limits_of(recipe: FilterClipsRecipe) -> dict[str, list[tuple[str, float]]]:
    """The recipe's limits by what they are about, as charts draw them."""
    given = {
        "short_side_px": ("min_side_px",),
        "aspect": ("max_aspect",),
        "duration_seconds": ("min_duration_seconds", "max_duration_seconds"),
        "caption_chars": ("min_caption_chars", "max_caption_chars"),
        "luma": ("min_luma",),
        "contrast": ("min_contrast",),
        "motion": ("min_motion",),
        "flicker": ("max_flicker",),
    }
    return {measure: [(name, float(getattr(recipe, name))) for name in names] for measure, names in given.items()}


def clip_facts(clip: Clip, scores: Mapping[ScoreName, Score]) -> ClipFacts:
    """The facts of a clip with its scores by column."""
    return ClipFacts(
        width_px=clip.width_px,
        height_px=clip.height_px,
        duration_seconds=clip.duration_seconds,
        num_frames=len(clip.frames),
        caption=clip.caption,
        **score_fields(scores),
    )


def measured_clip(
    clip: Clip, scores: Mapping[ScoreName, Score], reader: ClipReader, recipe: FilterClipsRecipe
) -> MeasuredClip:
    """Look at one clip by itself. Raises `StoreError` where a frame is not as it was committed."""
    reason, measures = reason_of_row(clip_facts(clip, scores), recipe), None
    if reason is None:
        try:
            frames = [small_grey(jpeg) for jpeg in reader.frames.images_of(clip.frames)]
            measures = measure_frames(frames, clip.frame_times, clip.duration_seconds)
            reason = reason_of_frames(measures, recipe)
        except (FrameError, UndecodableClipError):
            reason = ClipDropReason.FRAMES_UNREADABLE
    return MeasuredClip(
        sample_id=clip.sample_id,
        own_reason=reason and reason.value,
        stretch=stretch_digest(clip.video_sha256, clip.start_seconds, clip.end_seconds),
        caption=text_digest(clip.caption),
        measures=measures,
    )


class ClipPart(PartTask):
    """The task of a part of phases `measure` and `judge`: one part of the clips."""

    part: str
    """Its name."""
    number: int
    """Its place among the parts."""


def measure_part(part: Part, draft: PartDraft, clips: RawClips, recipe: FilterClipsRecipe) -> None:
    """Look at the clips of one part by themselves, in `measured.parquet`."""
    task, reader = ClipPart.of(part), ClipReader(clips)
    table = reader.table(task.part)
    columns = score_columns(table.column_names, recipe)
    rows = rows_of_scores(table, columns)
    measured: list[MeasuredClip] = []
    for clip, scores in zip(reader.clips_of(task.part), rows, strict=True):
        measured.append(measured_clip(clip, scores, reader, recipe))
        draft.progress(len(measured))
    write_table(measured_table(measured), draft.path(MEASURED_FILE))
    num_compared = sum(clip.own_reason is None for clip in measured)
    draft.fact(**MeasuredClipFacts(num_compared=num_compared).dump())
    draft.fact(**RuleFacts(rule_counts=count_scores(rows, columns)).dump())


def judge_part(
    part: Part,
    draft: PartDraft,
    *,
    recipe: FilterClipsRecipe,
    clips: RawClips,
    store: Store,
    measured: Sequence[PartRecord],
    compared: Sequence[PartRecord],
) -> None:
    """Bring together what is against each clip of one part, in `verdicts.parquet`."""
    import pyarrow as pa

    task = ClipPart.of(part)
    table = read_table(read_file(store, measured[task.number], MEASURED_FILE))
    duplicates = duplicates_of_part(store, compared, task.number, len(measured))
    reasons = [
        ClipDropReason.NEAR_DUPLICATE if row in duplicates else ClipDropReason.spelled(own) if own else None
        for row, own in enumerate(table["own_reason"].to_pylist())
    ]
    earlier = pa.array([duplicates.get(row) for row in range(table.num_rows)], sample_id_type())
    columns = {"sample_id": table["sample_id"], **verdict_columns(reasons)}
    verdicts = pa.table(columns | {name: table[name] for name in SCORES} | {"duplicate_of": earlier})
    write_table(verdicts, draft.path(VERDICTS_FILE))
    draft.count(balance_of(verdicts))
    samples = ClipReader(clips).table(task.part)
    shown = [*SHOWN, *score_columns(samples.column_names, recipe).values()]
    judged = _shown(samples, verdicts)
    draft.fact(**examples_of(judged, shown, first_row=None))
    keep_profile(draft, judged, task.part, num_parts=len(measured))


def _shown(samples: pa.Table, verdicts: pa.Table) -> pa.Table:
    """The sample table with the columns of the verdicts in the place of its own; ids as text."""
    ids = [one and one.hex() for one in verdicts["duplicate_of"].to_pylist()]
    verdicts = verdicts.set_column(verdicts.column_names.index("duplicate_of"), "duplicate_of", [ids])
    for name in verdicts.column_names:
        if name in samples.column_names:
            samples = samples.drop_columns([name])
        samples = samples.append_column(name, verdicts[name])
    return samples


@stage(number=2, recipe=FilterClipsRecipe, makes=KeptClips, phases=("measure", "compare", "judge", PROFILE_PHASE))
def filter_clips(recipe: FilterClipsRecipe, raw: RawClips, *, ctx: StageContext) -> None:
    """Measure the clips of `raw`, compare them with each other, and judge them, a part for each of its parts."""
    check_scores_of(ClipReader(raw), recipe)
    tasks = [ClipPart(part=record.part, number=number) for number, record in enumerate(raw.parts)]
    over = [Part(name=f"frames_{task.part}", task=task.dump()) for task in tasks]
    measured = ctx.spread(partial(measure_part, clips=raw, recipe=recipe), over=over, phase="measure")
    check_scores_applied(measured, recipe, "clips")
    compared: tuple[PartRecord, ...] = ()
    if recipe.max_near_bits is not None:
        comparing = partial(compare_clips, store=ctx.store, measured=measured, max_bits=recipe.max_near_bits)
        compared = ctx.spread(comparing, over=key_ranges(raw.head.items.kept), phase="compare")
    judging = partial(judge_part, recipe=recipe, clips=raw, store=ctx.store, measured=measured, compared=compared)
    over = [
        Part(name=task.part, task=task.dump(), num_items=record.items.kept)
        for task, record in zip(tasks, raw.parts, strict=True)
    ]
    records = ctx.spread(judging, over=over, phase="judge")
    subject = ProfileSubject(
        title=f"filter_clips of {raw.stage}/{raw.short}",
        items="clips",
        limits=limits_of(recipe),
        measure_of=MEASURE_OF,
    )
    draw_profile(ctx, records, subject, ClipPictures(raw))
    check_losses(records, recipe.max_share_lost, items="clips")
