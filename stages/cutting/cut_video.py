"""Cuts one video into clips: its stretches, their captions, and their frames or packets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from neo_model.inputs.frame_sampling import FrameSampling
from stages.cutting.clip_table import ClipWriter, TakenClip
from stages.cutting.listed import ListedVideo, VideoFile, VideoOutcome, WantedClip
from stages.cutting.reasons import ClipReason
from stages.cutting.stretches import CutAt, LengthRule, Stretch, asked_for, cut_stretch
from stages.cutting.subtitles import text_between
from stages.cutting.texts import CaptionsFrom, cleaned
from stages.cutting.video_files import sha256_of
from stages.formats.sample_table import ItemReason
from stages.video.facts import Frame, VideoFacts, fitted_size
from stages.video.faults import VideoError
from stages.video.reader import VideoReader

Store: TypeAlias = Literal["frames", "packets"]
"""Whether a clip keeps JPEG files of its frames, or packets of its video, whose frames are decoded when needed."""


@dataclass(frozen=True, kw_only=True)
class CutRule:
    """What becomes of a video. Part of the recipe, so part of identity."""

    cut_at: CutAt
    length: LengthRule
    scene_threshold: float
    captions: CaptionsFrom
    needs_caption: bool
    sampling: FrameSampling
    store: Store
    check_packets: bool
    max_frame_px: int
    jpeg_quality: int


@dataclass(frozen=True)
class Cutter:
    """Cuts the videos of one part."""

    reader: VideoReader
    writer: ClipWriter
    rule: CutRule

    def cut(self, video: ListedVideo, outcome: VideoOutcome) -> None:
        """Write the clips of a video. Each row that asks for one gives a row at least."""
        rows = [row for row, wanted in enumerate(video.wanted) if wanted.reason is None]
        for row, wanted in enumerate(video.wanted):
            if wanted.reason is not None:
                self.writer.add_lost(video, row, wanted.reason)
        if isinstance(outcome, ItemReason):
            for row in rows:
                self.writer.add_lost(video, row, outcome)
        elif rows:
            self._cut_file(video, outcome, rows)

    def _cut_file(self, video: ListedVideo, file: VideoFile, rows: list[int]) -> None:
        try:
            facts = self.reader.open(file.path)
        except VideoError as error:
            for row in rows:
                self.writer.add_lost(video, row, reason_of(error), sha256=file.sha256)
            return
        sha256 = file.sha256 or sha256_of(file.path)
        for row in rows:
            for stretch in self._stretches(video.wanted[row], facts):
                self._cut_stretch(video, row, stretch, facts, sha256)

    def _stretches(self, wanted: WantedClip, facts: VideoFacts) -> Iterator[Stretch]:
        """The stretches of a row, those that become no clip with their reasons."""
        asked = asked_for(wanted.start_seconds, wanted.end_seconds, facts.duration_seconds)
        scenes: list[float] = []
        if self.rule.cut_at == "scenes" and asked.reason is None:
            try:
                scenes = self.reader.scene_starts(
                    self.rule.scene_threshold, start_seconds=asked.start_seconds, end_seconds=asked.end_seconds
                )
            except VideoError as error:
                asked = asked._replace(reason=reason_of(error))
        return cut_stretch(asked, scenes, self.rule.length)

    def _cut_stretch(self, video: ListedVideo, row: int, stretch: Stretch, facts: VideoFacts, sha256: bytes) -> None:
        caption = self._caption(video, row, stretch)
        reason: ItemReason | None = stretch.reason
        if reason is None and isinstance(caption, ItemReason):
            reason = caption
        if reason is None:
            try:
                taken = self._taken(stretch, facts)
            except VideoError as error:
                taken = reason_of(error)
            if isinstance(taken, TakenClip) and not isinstance(caption, ItemReason):
                self.writer.add_clip(
                    video,
                    row,
                    stretch,
                    caption=caption,
                    sha256=sha256,
                    video_seconds=facts.duration_seconds,
                    taken=taken,
                )
                return
            reason = taken if isinstance(taken, ItemReason) else None
        assert reason is not None
        self.writer.add_lost(video, row, reason, stretch, sha256=sha256, video_seconds=facts.duration_seconds)

    def _caption(self, video: ListedVideo, row: int, stretch: Stretch) -> str | ItemReason:
        """The text of a stretch: that of its row, or else of its subtitles."""
        text: str | ItemReason | None = video.wanted[row].caption
        if self.rule.captions in ("none", "subtitles"):
            text = None
        if text is None and self.rule.captions in ("any", "subtitles"):
            text = cleaned(text_between(video.cues, stretch.start_seconds, stretch.end_seconds))
        if not text and self.rule.needs_caption:
            return ClipReason.CAPTION_EMPTY
        return text or ""

    def _taken(self, stretch: Stretch, facts: VideoFacts) -> TakenClip | ClipReason:
        """The frames or packets of a stretch. Raises `VideoError`."""
        start, end = stretch.start_seconds, stretch.end_seconds
        is_last = end >= facts.duration_seconds
        if is_last and facts.is_cut_short:
            return ClipReason.FILE_CUT_SHORT
        # Where no frame begins within the stretch, the one that is seen all through it counts: a slide, a screen.
        times = self.reader.frame_times(start, float("inf") if is_last else end) or [start]
        native_fps = len(times) / (end - start)
        sampled = [times[number] for number in self.rule.sampling.frame_numbers(len(times), native_fps)]
        width_px, height_px = fitted_size(facts.width_px, facts.height_px, self.rule.max_frame_px)
        frames: list[Frame] = []
        packets = None
        if self.rule.store == "frames" or self.rule.check_packets:
            frames = self.reader.frames(sampled, self.rule.max_frame_px, self.rule.jpeg_quality)
        if self.rule.store == "packets":
            packets = self.reader.packets(start, float("inf") if is_last else end)
        return TakenClip(
            frames=frames,
            packets=packets,
            frame_times=sampled,
            width_px=width_px,
            height_px=height_px,
            native_fps=native_fps,
            num_native_frames=len(times),
        )


def reason_of(error: VideoError) -> ClipReason:
    """The reason that has the name of a fault."""
    return ClipReason.spelled(error.fault.value)
