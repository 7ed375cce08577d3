"""Previews of clips: where in a video each lies, and some of its frames side by side."""

from __future__ import annotations

from typing import Any, Final

from neo_model.inputs.video_text import frame_time
from pipelines.preview.items import PreviewItem, PreviewSpan, PreviewStrip, SpanRole, fields_of, verdict_in_words
from pipelines.preview.thumbnails import frame_picture, frames_in_words, shown_frames
from stages.formats.clip_reader import ClipReader, UndecodableClipError
from stages.formats.clips import Clip, clip_schema
from stages.formats.sample_table import Verdict
from stages.store.errors import StoreError

SCORES: Final = ("luma", "brightest", "contrast", "motion", "flicker")
"""Columns of verdicts that a filter measured."""


def clip_item(
    part: str, number: int, row: dict[str, Any], reader: ClipReader, *, judged: dict[str, Any] | None = None
) -> PreviewItem:
    """The clip of one row of a sample table; `judged` is its row in the verdicts of a filter, if there is one."""
    strips: tuple[PreviewStrip, ...] = ()
    fields = [("video", row["url"] or ""), ("reference", row["reference"] or "")]
    if row["verdict"] == Verdict.KEPT:
        clip = Clip.of({**row, "position": number}, part)
        strips = (clip_strip(clip, reader),)
        fields += [
            ("stretch", f"{clip.start_seconds:.2f} to {clip.end_seconds:.2f} s, {clip.duration_seconds:.2f} s"),
            ("frames", f"{len(clip.frames)} of {row['num_native_frames']}, at {row['native_fps']:.4g} a second"),
            ("size", f"{clip.width_px} x {clip.height_px} px"),
            ("stored as", "frames" if row["packets_sha256"] is None else "packets"),
        ]
    told = row if judged is None else judged
    own = fields_of(row, {*clip_schema().names, "retriable"})
    found = {name: (judged or {}).get(name) for name in SCORES}
    measured = [(name, f"{value:.4g}") for name, value in found.items() if value is not None]
    if judged and judged.get("duplicate_of"):
        measured.append(("nearly the same as", judged["duplicate_of"].hex()))
    return PreviewItem(
        heading=f"part {part}, row {number}: sample {row['sample_id'].hex()}",
        verdict=verdict_in_words(told["verdict"], told["reason"]),
        fields=(*fields, *measured, *own),
        spans=(PreviewSpan(role=SpanRole.GIVEN, text=row["caption"] or ""),),
        strips=strips,
    )


def clip_strip(clip: Clip, reader: ClipReader) -> PreviewStrip:
    """Some frames of a clip with their times; what is wrong where one is not as it was committed."""
    shown = shown_frames(len(clip.frames))
    about = f"{clip.duration_seconds:.2f} s, {frames_in_words(len(clip.frames))}"
    try:
        jpegs = reader.frames.images_of([clip.frames[number] for number in shown])
    except (StoreError, UndecodableClipError) as error:
        return PreviewStrip(about=f"{about}; {error}")
    frames = (frame_picture(jpeg, frame_time(clip.frame_times[n])) for jpeg, n in zip(jpegs, shown, strict=True))
    return PreviewStrip(about=about, frames=tuple(frames))


def strip_by_id(reader: ClipReader | None, clip_id: bytes) -> PreviewStrip:
    """Some frames of the clip with this id, or that there is none."""
    try:
        if reader is None:
            raise KeyError
        clip = reader.clip(clip_id)
    except KeyError:
        return PreviewStrip(about=f"the clip {clip_id.hex()} is not among the kept clips")
    return clip_strip(clip, reader)
