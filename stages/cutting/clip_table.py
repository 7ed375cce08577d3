"""Writes one part of RawClips: clips in the tar as they are cut, then a row for each of them and each that is lost.

A sample id is hashed from the source's name, what identifies the row that asked for the clip, and the clip's own times
and caption: two clips of one row differ in their times, and two rows in their fields or their ordinal. So ids are
unique without looking at other parts. Memory grows with the rows of a part and their frames' digests (about 60 bytes a
frame), not with their pictures.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stages.artifacts.kinds import CLIPS_FILE, SAMPLES_FILE
from stages.contract import PartDraft
from stages.cutting.listed import ListedVideo, WantedClip
from stages.cutting.stretches import Stretch
from stages.formats.clips import FrameFacts, clip_schema
from stages.formats.losses import examples_of
from stages.formats.sample_table import ItemReason, Verdict, balance_of, write_table
from stages.formats.tar import TarWriter
from stages.origins.json_values import json_rows
from stages.origins.sample_id import sample_id
from stages.origins.tables.row_batches import MALFORMED
from stages.video.facts import Frame, Packets

if TYPE_CHECKING:
    import pyarrow as pa

KEY_DIGITS: Final = 12
CLIPS_OF_A_PART: Final = 1_000_000
"""Distance between the first keys of two parts, so that keys differ across parts: those of part 7 begin at 7000000."""


def reserved_columns() -> frozenset[str]:
    """Names that a column of the user's own may not have: sample tables of clips use them, or their readers do."""
    return frozenset(clip_schema().names) | {"position"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenClip:
    """What was taken of a stretch of a video."""

    frames: Sequence[Frame]
    """[n] the frames; where packets are stored, they may be left out."""
    packets: Packets | None
    """The packets, where they are stored."""
    frame_times: Sequence[float]
    """[n] when each frame is shown, in seconds after the first frame of the video."""
    width_px: int
    """Width of the frames, as JPEG files."""
    height_px: int
    """Height of the frames, as JPEG files."""
    native_fps: float
    """Frames of the video in a second, on average over the clip."""
    num_native_frames: int
    """Frames of the video in the clip."""


@dataclass
class ClipWriter:
    """Writes the clips of one part, in the order in which they are cut."""

    draft: PartDraft
    source: str
    """Name of the source, with which sample ids are hashed."""
    number: int
    """Number of the part among those of its phase."""
    carried_schema: pa.Schema
    """Columns that are carried along."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    carried: list[pa.Table] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._tar = TarWriter(self.draft.path(CLIPS_FILE))

    def __enter__(self) -> ClipWriter:
        self._tar.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._tar.__exit__(*error)

    def add_lost(
        self,
        video: ListedVideo,
        row: int,
        reason: ItemReason,
        stretch: Stretch | None = None,
        *,
        sha256: bytes | None = None,
        video_seconds: float | None = None,
    ) -> None:
        """Note that row `row` of a video, or a stretch of it, gives no clip.

        `sha256` and `video_seconds` are the digest and the length of the video, as far as they are known.
        """
        self._add(
            video,
            row,
            {
                "sample_id": self._id(video.wanted[row], stretch, ""),
                "caption": video.wanted[row].caption,
                "verdict": reason.verdict.value,
                "reason": reason.value,
                "retriable": reason.retriable,
                "sha256": sha256,
                "start_seconds": stretch and stretch.start_seconds,
                "end_seconds": stretch and stretch.end_seconds,
                "video_seconds": video_seconds,
            },
        )

    def add_clip(
        self,
        video: ListedVideo,
        row: int,
        stretch: Stretch,
        *,
        caption: str,
        sha256: bytes,
        video_seconds: float,
        taken: TakenClip,
    ) -> None:
        """Write a clip of row `row` of a video, whose digest and length are `sha256` and `video_seconds`."""
        key = f"{self.number * CLIPS_OF_A_PART + len(self.rows):0{KEY_DIGITS}d}"
        facts = {
            "sample_id": self._id(video.wanted[row], stretch, caption),
            "url": video.url,
            "reference": video.reference,
            "caption": caption,
            "sha256": sha256,
            "start_seconds": stretch.start_seconds,
            "end_seconds": stretch.end_seconds,
            "width_px": taken.width_px,
            "height_px": taken.height_px,
            "video_seconds": video_seconds,
            "native_fps": taken.native_fps,
            "num_native_frames": taken.num_native_frames,
            # A frame may lie a hair before a start that is spelled in decimals; no time in a clip is negative.
            "frame_times": [max(0.0, at - stretch.start_seconds) for at in taken.frame_times],
        }
        further = video.carried.slice(row, 1)
        members = {"txt": caption.encode(), "json": _json_member(facts, further)}
        stored = self._stored(key, members, taken)
        kept = {"verdict": Verdict.KEPT.value, "reason": None, "retriable": False, "key": key}
        self._add(video, row, {**facts, **kept, **stored})

    def close(self, form: FrameFacts) -> None:
        """Write the sample table behind the tar, count it, and record an example of each reason."""
        import pyarrow as pa

        table = pa.Table.from_pylist(self.rows, clip_schema())
        carried = pa.concat_tables([self.carried_schema.empty_table(), *self.carried])
        for one in carried.schema:
            table = table.append_column(one, carried[one.name])
        write_table(table, self.draft.path(SAMPLES_FILE))
        self.draft.count(balance_of(table))
        self.draft.fact(**examples_of(table, ["url", "caption", MALFORMED], None), **form.dump())

    def _stored(self, key: str, members: Mapping[str, bytes], taken: TakenClip) -> dict[str, Any]:
        """Write the members of a clip; returns the columns that say where its frames or packets lie."""
        if taken.packets is not None:
            mp4 = taken.packets.mp4
            offsets = self._tar.add(key, {**members, "mp4": mp4})
            return {
                "packets_offset": offsets["mp4"],
                "packets_size_bytes": len(mp4),
                "packets_sha256": hashlib.sha256(mp4).digest(),
                "frame_pts": [taken.packets.pts_at(at) for at in taken.frame_times],
            }
        jpegs = {f"{number:05d}.jpg": frame.jpeg for number, frame in enumerate(taken.frames)}
        offsets = self._tar.add(key, {**members, **jpegs})
        return {
            "frame_offsets": [offsets[name] for name in jpegs],
            "frame_sizes_bytes": [len(jpeg) for jpeg in jpegs.values()],
            "frame_sha256": [hashlib.sha256(jpeg).digest() for jpeg in jpegs.values()],
        }

    def _add(self, video: ListedVideo, row: int, values: Mapping[str, Any]) -> None:
        self.rows.append({"url": video.url, "reference": video.reference, **values})
        self.carried.append(video.carried.slice(row, 1))

    def _id(self, wanted: WantedClip, stretch: Stretch | None, caption: str) -> bytes:
        times = [] if stretch is None else [repr(stretch.start_seconds), repr(stretch.end_seconds), caption]
        return sample_id(self.source, [*wanted.fields, *(one.encode() for one in times)], wanted.ordinal)


def _json_member(facts: Mapping[str, Any], further: pa.Table) -> bytes:
    """The json member: the row of the sample table, for readers that have the tar alone."""
    plain = {name: value.hex() if isinstance(value, bytes) else value for name, value in facts.items()}
    rows, _ = json_rows(further.select([name for name in further.column_names if name != MALFORMED]))
    return json.dumps(
        {**(rows[0] if rows else {}), **plain}, sort_keys=True, ensure_ascii=False, allow_nan=False
    ).encode()
