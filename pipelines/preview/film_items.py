"""Videos of a folder or of tars as they will be cut: facts, text, and some frames of each, or why it cannot be used.

Videos are listed and opened by the functions of `cut_clips`, in the same process with limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Final

from neo_model.inputs.video_text import frame_time
from pipelines.preview.items import PreviewItem, PreviewSpan, PreviewStrip, SpanRole
from pipelines.preview.thumbnails import frame_picture
from stages.contract import PinnedFile, StageError
from stages.cutting.cut_video import reason_of
from stages.cutting.folder_videos import FileSource, FolderTask, FolderVideos, folder_parts
from stages.cutting.listed import ListedVideo, VideoList, VideoOutcome
from stages.cutting.parts import CutTask, tar_parts
from stages.cutting.subtitles import text_between
from stages.cutting.tar_videos import TarVideos
from stages.cutting.video_files import VideoPlace, opened_video
from stages.formats.sample_table import ItemReason
from stages.origins.pinning import Selected
from stages.origins.places.place import Place
from stages.store.errors import StoreError
from stages.video.facts import VideoFacts
from stages.video.faults import VideoError
from stages.video.limits import VideoLimits
from stages.video.reader import VideoReader

MAX_VIDEO_BYTES: Final = 512 * 2**20
"""Largest video that is looked at, in bytes; one that is not on this machine is copied first."""
NUM_FRAMES: Final = 8
"""Frames of a video that are shown."""
FRAME_PX: Final = 160 * 160
FRAME_QUALITY: Final = 85


class FilmViewer:
    """Looks into video files, in a process with limits that is started for the first. Use as a context manager."""

    def __init__(self) -> None:
        self._reader = VideoReader(VideoLimits(max_file_bytes=MAX_VIDEO_BYTES))
        self._folder = TemporaryDirectory(prefix="neo-look-")
        self.scratch = Path(self._folder.name)
        """A folder for copies."""

    def __enter__(self) -> FilmViewer:
        return self

    def __exit__(self, *error: object) -> None:
        self._reader.close()
        self._folder.cleanup()

    def look(
        self, path: Path, start_seconds: float = 0.0, end_seconds: float | None = None
    ) -> tuple[VideoFacts, PreviewStrip]:
        """The facts of a file, and some frames of a stretch of it with their times. Raises `VideoError`."""
        facts = self._reader.open(path)
        end = facts.duration_seconds if end_seconds is None else min(end_seconds, facts.duration_seconds)
        length = max(0.0, end - start_seconds)
        num_frames = max(1, min(NUM_FRAMES, facts.num_frames))
        times = [start_seconds + length * (number + 1) / (num_frames + 1) for number in range(num_frames)]
        frames = self._reader.frames(times, FRAME_PX, FRAME_QUALITY)
        about = f"{length:.2f} s, {num_frames} of {facts.num_frames:,} frames"
        if length < facts.duration_seconds:
            about = f"{start_seconds:.2f} to {end:.2f} s of {facts.duration_seconds:.2f} s, {num_frames} frames"
        shown = tuple(frame_picture(frame.jpeg, frame_time(max(0.0, frame.time_seconds))) for frame in frames)
        return facts, PreviewStrip(about=about, frames=shown)

    def strip_in(
        self, place: Place, path: str, start_seconds: float = 0.0, end_seconds: float | None = None
    ) -> PreviewStrip:
        """Some frames of a video that is a file of a place, or what is wrong with it."""
        steps = PurePosixPath(path)
        if steps.is_absolute() or ".." in steps.parts:
            return PreviewStrip(about=f"{path}: a path that leads out of the source")
        try:
            size_bytes = place.size_bytes(path)
            if size_bytes is None:
                return PreviewStrip(about=f"{path}: is not there")
            where = VideoPlace(path, size_bytes, "", "", None, size_bytes)
            with opened_video(place.url, where, self.scratch, MAX_VIDEO_BYTES) as outcome:
                if isinstance(outcome, ItemReason):
                    return PreviewStrip(about=f"{path}: {outcome.value}")
                strip = self.look(outcome.path, start_seconds, end_seconds)[1]
        except (OSError, EOFError, StoreError, StageError, VideoError) as error:
            return PreviewStrip(about=f"{path}: {error}")
        return replace(strip, about=f"{path}: {strip.about}")

    def strip_of(self, data: bytes, start_seconds: float = 0.0, end_seconds: float | None = None) -> PreviewStrip:
        """Some frames of a video whose bytes a table holds, or what is wrong with it."""
        path = self.scratch / "row"
        path.write_bytes(data)
        try:
            return self.look(path, start_seconds, end_seconds)[1]
        except VideoError as error:
            return PreviewStrip(about=f"{len(data):,} bytes: {error}")


def film_items(name: str, selected: Selected, *, skip: int) -> Iterator[PreviewItem]:
    """The videos of the source `name` from number `skip` on."""
    with FilmViewer() as films:
        source = FileSource(
            place=selected.place.url,
            source=name,
            captions="any",
            columns={},
            max_file_bytes=MAX_VIDEO_BYTES,
            scratch=films.scratch,
        )
        listed = (one for videos in _lists(selected, source) for one in videos.videos())
        for video, outcome in islice(listed, skip, None):
            yield _item(video, outcome, films)


def _lists(selected: Selected, source: FileSource) -> Iterator[VideoList]:
    files = [
        PinnedFile(path=file.path, size_bytes=file.size_bytes, sha256=file.sha256, etag=file.etag)
        for file in selected.files
    ]
    parts = folder_parts(files, len(files))
    for part in parts:
        yield FolderVideos(CutTask.of(part).folder or FolderTask(files=[]), source)
    for part in [] if parts else tar_parts(files, {}):
        tar = CutTask.of(part).tar
        assert tar is not None
        yield TarVideos(tar, source)


def _item(video: ListedVideo, outcome: VideoOutcome, films: FilmViewer) -> PreviewItem:
    """One video with its facts, its whole text and some of its frames."""
    (wanted,) = video.wanted
    reason = wanted.reason or (outcome if isinstance(outcome, ItemReason) else None)
    fields: tuple[tuple[str, str], ...] = ()
    strips: tuple[PreviewStrip, ...] = ()
    if reason is None and not isinstance(outcome, ItemReason):
        try:
            facts, strip = films.look(outcome.path)
            fields, strips = tuple(_fields(facts)), (strip,)
        except VideoError as error:
            reason = reason_of(error)
    text = wanted.caption or text_between(video.cues, 0.0, float("inf"))
    return PreviewItem(
        heading=video.reference,
        verdict="" if reason is None else f"{reason.verdict.value}: {reason.value}",
        fields=fields,
        spans=(PreviewSpan(role=SpanRole.GIVEN, text=text),) if text else (),
        strips=strips,
    )


def _fields(facts: VideoFacts) -> Iterator[tuple[str, str]]:
    yield "duration", f"{facts.duration_seconds:.2f} s"
    rate = "a second on average, at a variable rate" if facts.is_variable_rate else "a second"
    yield "frames", f"{facts.num_frames:,}, {facts.native_fps:.2f} {rate}; {facts.num_keyframes:,} keyframes"
    yield "size", f"{facts.width_px} x {facts.height_px} px"
    yield "codec", f"{facts.codec} in {facts.container}, {facts.pixel_format}"
    turned = [f"{facts.rotation_degrees} degrees"] if facts.rotation_degrees else []
    turned += ["mirrored"] if facts.is_mirrored else []
    if turned:
        yield "turned by", ", ".join(turned)
    if facts.is_interlaced:
        yield "fields", "interlaced"
    if facts.num_video_streams > 1:
        yield "streams", f"{facts.num_video_streams} of moving pictures, of which one is read"
    if facts.is_cut_short:
        yield "end", "the file is cut short"
