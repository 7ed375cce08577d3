"""Finds the clip that a record means, by the name of its video and the stretch that it gives.

A video is called by its URL, by its name in its source, by its path in the tar that holds it, and by the digest of its
bytes, as a record that holds the video itself calls it. Several different videos of one name are ambiguous.

Which clip of a video is meant:

    with times      the clip that begins and ends there, to within `TIME_TOLERANCE_SECONDS`; an end behind the end of
                    the video means that end, because a clip ends with its video at the latest
    without         the clip that covers the video: it begins at 0 and ends with the video

The length of the video stands in the table of clips; where it does not, the video ends with its last clip.

A video of which no clip covers all is ambiguous without times: an answer about the whole must not be learned beside a
part. Of several clips of the same stretch, which differ in their captions, the first kept one in table order is taken.
Clips that were not kept count as stretches of their video, but for rows that ask for what is no stretch of it (behind
its end, or ending before it begins).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from stages.artifacts.kinds import SAMPLES_FILE, VERDICTS_FILE, KeptClips, RawClips
from stages.contract import Part, PartDraft, StageContext
from stages.conversations.names.name_index import NamedPart, NameIndex, NameLayout, index_names, write_names
from stages.conversations.reasons import ConversationReason
from stages.conversations.videos.references import VideoReference, plain_name
from stages.formats.sample_table import Verdict, read_table
from stages.store.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa

CLIP_LAYOUT: Final = NameLayout(
    names_phase="clip_names",
    ranges_phase="clips",
    ranges_file="clips.bin",
    fields=(
        ("start_seconds", "<f8"),
        ("end_seconds", "<f8"),
        ("video_seconds", "<f8"),
        ("video", "<u8"),
        ("is_kept", "u1"),
    ),
    keeps_all=True,
)
"""An entry holds where the clip begins and ends in which video of what length, and whether it is kept: 65 bytes."""
CLIP_PHASES: Final = (CLIP_LAYOUT.names_phase, CLIP_LAYOUT.ranges_phase)
"""The phases of `index_clips`, in order."""
NAMES_PER_CLIP: Final = 4
"""Names of a clip, at most: URL, name in its source, path in its tar, digest."""
TIME_TOLERANCE_SECONDS: Final = 0.1
"""How far a clip's times may be from those that a record gives: lists of clips round to tenths of a second."""
_TIMES: Final = ("start_seconds", "end_seconds", "video_seconds")
_COLUMNS: Final = ("sample_id", "url", "reference", "verdict", "reason", "sha256", *_TIMES)
_NO_STRETCH: Final = frozenset(("outside_video", "bad_times"))
"""Reasons of `cut_clips` whose rows are no stretch of their video."""
_IN_TAR: Final = re.compile(r".*?\.tar(?:\.\w{1,4})?/(.+)", re.DOTALL)
FoundClip: TypeAlias = bytes | ConversationReason
"""Sample id of a clip, or why there is none."""


class NamedClip(NamedTuple):
    """One clip of the video of a name."""

    sample_id: bytes
    """Its sample id, 16 bytes."""
    start_seconds: float
    """Where it begins in its video."""
    end_seconds: float
    """Where it ends."""
    video_seconds: float
    """Length of its video; 0 where the table does not say."""
    video: int
    """First 8 bytes of the digest of its video."""
    is_kept: int
    """1 where it is kept, else 0."""


@dataclass(frozen=True)
class ClipNames:
    """Finds clips by the names of their videos. Pickles."""

    index: NameIndex
    """The names of the videos of all clips."""
    prefix: str = ""
    """Beginning of names in records that the names of clips do not have."""
    folder: str = ""
    """Beginning of names of clips that the names in records do not have."""

    def find(self, references: Collection[VideoReference]) -> Mapping[VideoReference, FoundClip]:
        """The clip of each reference, or why there is none."""
        names = {reference.name: self._called(reference.name) for reference in references}
        found = self.index.find(set(names.values()))
        clips = {name: [NamedClip(*entry) for entry in entries] for name, entries in found}
        return {reference: clip_meant(reference, clips.get(names[reference.name], ())) for reference in references}

    def _called(self, name: str) -> str:
        """What clips call the video that a record calls `name`; addresses and digests stay as they are."""
        if "://" in name or name.startswith("sha256:"):
            return name
        return f"{self.folder}{name.removeprefix(self.prefix)}"


def clip_meant(reference: VideoReference, clips: Sequence[NamedClip]) -> FoundClip:
    """Which of the clips of a video a record means, or why none."""
    if not clips:
        return ConversationReason.VIDEO_MISSING
    if len({clip.video for clip in clips}) > 1:
        return ConversationReason.VIDEO_AMBIGUOUS
    last = max(clip.video_seconds or clip.end_seconds for clip in clips)
    start = 0.0 if reference.start_seconds is None else reference.start_seconds
    end = last if reference.end_seconds is None else min(reference.end_seconds, last)
    meant = [
        clip
        for clip in clips
        if abs(clip.start_seconds - start) <= TIME_TOLERANCE_SECONDS
        and abs(clip.end_seconds - end) <= TIME_TOLERANCE_SECONDS
    ]
    kept = [clip.sample_id for clip in meant if clip.is_kept]
    if kept:
        return kept[0]
    is_whole = reference.start_seconds is None and reference.end_seconds is None
    return ConversationReason.VIDEO_MISSING if meant or not is_whole else ConversationReason.VIDEO_AMBIGUOUS


def index_clips(
    ctx: StageContext, clips: KeptClips | RawClips | None, *, prefix: str = "", folder: str = ""
) -> ClipNames | None:
    """Make the clips findable, in two phases of the artifact that is being made; None where there are none at all.

    Names in records are found without `prefix` and behind `folder`.
    """
    if clips is None:
        return None
    raw = clips if isinstance(clips, RawClips) else clips.input("raw", RawClips)
    total = NAMES_PER_CLIP * sum(record.items.total for record in raw.parts)
    parts = [record.part for record in raw.parts]
    work = partial(list_clip_names, clips=clips, raw=raw)
    return ClipNames(index_names(ctx, CLIP_LAYOUT, work, parts, total), prefix, folder)


def names_of(url: str | None, reference: str | None, sha256: bytes) -> list[str]:
    """What records may call the video with these names, each once.

    >>> names_of("films:a.tar/b/1.mp4", "a.tar/b/1.mp4", bytes(1))
    ['films:a.tar/b/1.mp4', 'a.tar/b/1.mp4', 'b/1.mp4', 'sha256:00']
    """
    names = [url, reference, plain_name(reference or ""), f"sha256:{sha256.hex()}"]
    if reference is not None and (inside := _IN_TAR.fullmatch(reference)):
        names.insert(-1, plain_name(inside[1]))
    return list(dict.fromkeys(name for name in names if name))


def list_clip_names(part: Part, draft: PartDraft, clips: KeptClips | RawClips, raw: RawClips) -> None:
    """List the names of the videos of one part: all stretches that were cut, kept or not."""
    import numpy as np

    table = judged_clips(NamedPart.of(part).part, clips, raw)
    columns = [table[name].to_pylist() for name in ("url", "reference", "sha256", "start_seconds", "reason")]
    names = [
        (name, row)
        for row, (url, reference, sha256, start, reason) in enumerate(zip(*columns, strict=True))
        if sha256 is not None and start is not None and reason not in _NO_STRETCH
        for name in names_of(url, reference, sha256)
    ]
    times = {name: table[name].fill_null(0.0).to_numpy() for name in _TIMES}
    kept = np.array([verdict == Verdict.KEPT for verdict in table["verdict"].to_pylist()], np.uint8)
    video = np.array([int.from_bytes((sha256 or b"")[:8], "big") for sha256 in columns[2]], np.uint64)
    values = {"sample_id": table["sample_id"].to_pylist(), **times, "video": video, "is_kept": kept}
    write_names(CLIP_LAYOUT, names, values, draft)


def judged_clips(part: str, clips: KeptClips | RawClips, raw: RawClips) -> pa.Table:
    """The sample table of one part with the last verdict on each row. Raises `StoreError` where they do not match."""
    import pyarrow as pa

    of_part = next(record for record in raw.parts if record.part == part)
    samples = read_table(raw.read(of_part.file(SAMPLES_FILE)), _COLUMNS)
    if isinstance(clips, RawClips):
        return samples
    judging = next(one for one in clips.parts if one.part == part and any(f.name == VERDICTS_FILE for f in one.files))
    judged = read_table(clips.read(judging.file(VERDICTS_FILE)), ["sample_id", "verdict"]).to_pydict()
    verdicts = samples["verdict"].to_pylist()
    kept = [row for row, verdict in enumerate(verdicts) if verdict == Verdict.KEPT]
    ids = samples["sample_id"].to_pylist()
    if [ids[row] for row in kept] != judged["sample_id"]:
        raise StoreError(f"{clips!r}: part {part} judges other clips than {raw!r} kept there")
    for row, verdict in zip(kept, judged["verdict"], strict=True):
        verdicts[row] = verdict
    return samples.set_column(samples.column_names.index("verdict"), "verdict", pa.array(verdicts, pa.string()))
