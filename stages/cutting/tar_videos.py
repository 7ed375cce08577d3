"""Videos in WebDataset tars, with the texts of their samples: `000.mp4`, `000.txt`, `000.json`, `000.srt`.

The headers of a tar are walked through first; then the texts of each sample are read and its video is copied to
scratch, one sample at a time, so that memory grows with the number of members alone.
A tar that breaks off gives the videos before the break, and a failed item for the rest, which cannot be counted.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from stages.cutting.film_names import VIDEO_ENDINGS, is_video_text
from stages.cutting.folder_videos import FileSource, source_json_schema
from stages.cutting.listed import ListedVideo, VideoOutcome
from stages.cutting.reasons import ClipReason
from stages.cutting.subtitles import MAX_SUBTITLE_BYTES
from stages.cutting.video_files import copied
from stages.formats.sample_table import ItemReason
from stages.importing.parts import TarStretch
from stages.importing.reasons import ImportReason
from stages.importing.tar_members import TarBrokenError, TarMember, read_member, tar_members
from stages.importing.tar_samples import key_and_ending
from stages.origins.files import open_file

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(slots=True)
class TarFilm:
    """The members of one sample of a tar, by their endings."""

    key: str
    videos: dict[str, TarMember] = field(default_factory=dict)
    texts: dict[str, TarMember] = field(default_factory=dict)

    def video_ending(self, wanted: str | None) -> str | ItemReason:
        """The ending of the sample's video: `wanted`, or the only one, those without a dot before those with one."""
        if wanted is not None:
            return wanted if wanted in self.videos else ClipReason.VIDEO_MISSING
        plain = [ending for ending in self.videos if "." not in ending]
        found = plain or list(self.videos)
        if len(found) > 1:
            return ClipReason.SEVERAL_VIDEOS
        return found[0] if found else ClipReason.VIDEO_MISSING


@dataclass(frozen=True)
class TarVideos:
    """The videos of a tar, or of a stretch of one; a `VideoList`."""

    task: TarStretch
    source: FileSource

    @property
    def carried_schema(self) -> pa.Schema:
        """The column `source_json`."""
        return source_json_schema()

    def videos(self) -> Iterator[tuple[ListedVideo, VideoOutcome]]:
        """Each sample that has a video or a text, in the order of their first members."""
        with open_file(self.source.place, self.task.file) as opened:
            samples, broken = read_films(opened, self.task.start, self.task.stop)
            times: Counter[str] = Counter()
            for sample in samples:
                yield from self._video(opened, sample, times[sample.key], broken)
                times[sample.key] += 1
        if broken is not None:
            rest = TarFilm(f"(from byte {broken.offset})")
            yield self._listed(rest, {}, "", 0, broken.reason), broken.reason

    def _video(
        self, opened: BinaryIO, sample: TarFilm, ordinal: int, broken: TarBrokenError | None
    ) -> Iterator[tuple[ListedVideo, VideoOutcome]]:
        end = opened.seek(0, os.SEEK_END)
        texts = {one: _text(opened, member, end) for one, member in sample.texts.items()}
        ending = sample.video_ending(self.source.columns.get("video"))
        if isinstance(ending, ItemReason):
            yield self._listed(sample, texts, "", ordinal, ending), ending
            return
        member = sample.videos[ending]
        listed = self._listed(sample, texts, member.name, ordinal, None)
        if not member.is_file:
            yield listed, ImportReason.NOT_A_FILE
        elif member.size_bytes > self.source.max_file_bytes:
            yield listed, ClipReason.TOO_MANY_BYTES
        elif broken is not None and member.offset + member.size_bytes > end:
            yield listed, broken.reason
        else:
            with copied(opened, member.offset, member.size_bytes, self.source.scratch) as outcome:
                yield listed, outcome

    def _listed(
        self,
        sample: TarFilm,
        texts: Mapping[str, bytes | ItemReason],
        name: str,
        ordinal: int,
        reason: ItemReason | None,
    ) -> ListedVideo:
        path, start = self.task.file.path, self.task.start
        fields = (path.encode(), _as_text(sample.key).encode(), str(start).encode() if start else b"")
        reference = f"{path}/{_as_text(name or sample.key).removeprefix('./')}"
        return self.source.whole(fields, reference, texts, ordinal=ordinal, reason=reason)


def read_films(tar: BinaryIO, start: int, stop: int | None) -> tuple[Sequence[TarFilm], TarBrokenError | None]:
    """The samples of a tar, and where it breaks off; None where it is whole. Reads headers alone.

    A second member of one name begins a second sample of that key, so that no text is put beside another's video.
    """
    samples: list[TarFilm] = []
    newest: dict[str, TarFilm] = {}
    try:
        for member in tar_members(tar, start, stop):
            named = key_and_ending(member.name)
            if named is None:
                continue
            key, ending = named
            is_video, is_text = ending.rpartition(".")[2] in VIDEO_ENDINGS, is_video_text(f"x.{ending}")
            if not is_video and not is_text:
                continue
            sample = newest.get(key)
            if sample is None or ending in sample.videos or ending in sample.texts:
                sample = newest[key] = TarFilm(key)
                samples.append(sample)
            (sample.videos if is_video else sample.texts)[ending] = member
    except TarBrokenError as error:
        return samples, error
    return samples, None


def _text(tar: BinaryIO, member: TarMember, end: int) -> bytes | ItemReason:
    """The text of a member of a tar that ends at byte `end`."""
    if not member.is_file:
        return ImportReason.NOT_A_FILE
    if member.offset + member.size_bytes > end:
        return ImportReason.TRUNCATED_TAR
    return ImportReason.CAPTION_TOO_LARGE if member.size_bytes > MAX_SUBTITLE_BYTES else read_member(tar, member)


def _as_text(name: str) -> str:
    """A name that can be stored as UTF-8: bytes of it that are not are spelled as in Python."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
