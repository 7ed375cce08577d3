"""Videos that are files of a folder, with the texts beside them: `a/x.mp4` and `a/x.txt`, `a/x.srt`, `a/x.json`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from stages.contract import Part, PartTask, PinnedFile
from stages.cutting.film_names import is_video, is_video_text, seen_files, stem_of, text_stems
from stages.cutting.listed import ListedVideo, VideoOutcome, WantedClip
from stages.cutting.subtitles import MAX_SUBTITLE_BYTES
from stages.cutting.texts import CaptionsFrom, text_of_video
from stages.cutting.video_files import VideoPlace, opened_video
from stages.formats.sample_table import ItemReason
from stages.importing.picture_folder import plain_path
from stages.importing.reasons import ImportReason
from stages.origins.files import open_file

if TYPE_CHECKING:
    import pyarrow as pa

MAX_CARRIED_CHARS = 65_536
"""Longest JSON beside a video that is carried along, in characters; a longer one is left out."""


class FileAndTexts(PartTask):
    """A video and the texts beside it."""

    video: PinnedFile
    texts: list[PinnedFile] = Field(default_factory=list)


class FolderTask(PartTask):
    """The task of a part that reads files of a folder."""

    files: list[FileAndTexts]


def folder_parts(files: Sequence[PinnedFile], num_videos_per_part: int) -> list[Part]:
    """The parts of a folder: videos in the order of their paths, each with its texts."""
    seen = seen_files(files)
    videos = sorted((file for file in seen if is_video(file.path)), key=lambda file: plain_path(file.path))
    stems = {stem_of(file.path) for file in videos}
    texts: dict[str, list[PinnedFile]] = defaultdict(list)
    for file in seen:
        if is_video_text(file.path):
            stem = next((stem for stem in text_stems(file.path) if stem in stems), None)
            if stem is not None:
                texts[stem].append(file)
    listed = [FileAndTexts(video=video, texts=texts[stem_of(video.path)]) for video in videos]
    return [
        Part(
            name=f"{number:05d}",
            task={"folder": FolderTask(files=listed[first : first + num_videos_per_part]).dump()},
        )
        for number, first in enumerate(range(0, len(listed), num_videos_per_part))
    ]


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """A source that holds videos as files or members of tars, and how its texts are read."""

    place: str
    source: str
    """Name of the source, which begins the URL of a video and with which sample ids are hashed."""
    captions: CaptionsFrom
    columns: Mapping[str, str]
    """The ending of the `video`, and the ending or the field of the JSON that holds the `caption`, if not guessed."""
    max_file_bytes: int
    scratch: Path

    def whole(
        self,
        fields: Sequence[bytes],
        reference: str,
        texts: Mapping[str, bytes | ItemReason],
        *,
        ordinal: int = 0,
        reason: ItemReason | None = None,
    ) -> ListedVideo:
        """A whole video with the texts beside it, by their endings; `reason` says why there is no such video."""
        import pyarrow as pa

        text = text_of_video(texts, self.columns.get("caption"), self.captions)
        content = texts.get("json")
        spelled = content.decode("utf-8", "replace") if isinstance(content, bytes) else None
        carried = spelled if spelled is not None and len(spelled) <= MAX_CARRIED_CHARS else None
        wanted = WantedClip(
            fields=(*fields, (text.caption or "").encode()),
            ordinal=ordinal,
            caption=text.caption or None,
            reason=reason or text.reason,
        )
        return ListedVideo(
            reference=reference,
            url=f"{self.source}:{reference}",
            wanted=[wanted],
            carried=pa.table({"source_json": [carried]}, source_json_schema()),
            cues=text.cues,
        )


@dataclass(frozen=True)
class FolderVideos:
    """The videos of some files; a `VideoList`."""

    task: FolderTask
    source: FileSource

    @property
    def carried_schema(self) -> pa.Schema:
        """The column `source_json`."""
        return source_json_schema()

    def videos(self) -> Iterator[tuple[ListedVideo, VideoOutcome]]:
        """Each video with its texts."""
        for one in self.task.files:
            stem = stem_of(one.video.path)
            texts = {file.path[len(stem) + 1 :].lower(): self._text(file) for file in one.texts}
            listed = self.source.whole((one.video.path.encode(), b""), plain_path(one.video.path), texts)
            where, limit = VideoPlace.of(one.video), self.source.max_file_bytes
            with opened_video(self.source.place, where, self.source.scratch, limit) as outcome:
                yield listed, outcome

    def _text(self, file: PinnedFile) -> bytes | ItemReason:
        if file.size_bytes > MAX_SUBTITLE_BYTES:
            return ImportReason.CAPTION_TOO_LARGE
        with open_file(self.source.place, file) as opened:
            return opened.read()


def source_json_schema() -> pa.Schema:
    """The column in which the JSON beside a video is carried along as text."""
    import pyarrow as pa

    return pa.schema([("source_json", pa.string())])
