"""Reads clips: the sample table rows of kept clips, and their frames as JPEG files.

KeptClips holds verdicts only, so its reader also opens the RawClips that were judged (`kept_rows.py`). Frames that are
stored as JPEG files are one range read each. Those that are stored as packets are one range read a clip, and decoded
together in a process with limits; the bytes are those that would have been stored (`stages/video/`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import CLIPS_FILE, Conversations, KeptClips, RawClips
from stages.formats.clips import Clip, FrameFacts, clip_schema
from stages.formats.kept_rows import KeptRows
from stages.formats.pairs import ImageReader, StoredImage
from stages.store.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_AT_ONCE = 256
"""Rows of a table that are Python objects at one time: a row of 128 frames takes some 60 KiB."""


class UndecodableClipError(ValueError):
    """The packets of a clip are as they were committed, and cannot be decoded."""


@dataclass(frozen=True, kw_only=True)
class FrameReader(ImageReader):
    """Reads frames by their position in tars. Cheap to send to workers, as its parent is."""

    encodings: Mapping[str, FrameFacts]
    """Part to how frames are decoded from its packets."""

    def images_of(self, images: Sequence[StoredImage]) -> list[bytes]:
        """The frames as JPEG files, in order; those of a clip that stand together are read, or decoded, at once.

        In memory are the packets of one clip, or 16 MiB of its tar, beside the frames. Raises `StoreError`
        where the bytes of a frame are not those that were committed, and `UndecodableClipError`.
        """
        frames: list[bytes] = []
        for packets, ones in groupby(images, key=_packets_of):
            stored = list(ones)
            frames += self.together(stored, ahead=False) if packets is None else self._decoded(packets, stored)
        return frames

    def _decoded(self, packets: StoredImage, frames: Sequence[StoredImage]) -> list[bytes]:
        from stages.video.faults import VideoError
        from stages.video.packets import decode_packet_frames

        if packets.part not in self.encodings:
            raise StoreError(f"part {packets.part} of {self.raw} records no size and quality for the frames of packets")
        pts = [frame.pts for frame in frames if frame.pts is not None]
        facts = self.encodings[packets.part]
        mp4 = self.image_of(packets)
        try:
            return decode_packet_frames(mp4, pts, facts.max_frame_px, facts.jpeg_quality, facts.limits)
        except VideoError as error:
            clip = f"clip {packets.sample_id.hex()} of {self.raw}"
            raise UndecodableClipError(f"the frames of {clip} cannot be decoded: {error}") from error


def _packets_of(image: StoredImage) -> StoredImage | None:
    """The packets that hold a frame; None for a frame that is a file of its own."""
    return None if image.pts is None else image._replace(pts=None)


class ClipReader(KeptRows):
    """The kept clips of an artifact, in table order. A pickled reader is small: cached tables are left out."""

    raw_kind, kept_kind = RawClips, KeptClips

    def __init__(self, clips: KeptClips | RawClips) -> None:
        super().__init__(clips)
        self.clips = clips

    def __reduce__(self) -> tuple[Any, ...]:
        return ClipReader, (self.clips,)

    def __iter__(self) -> Iterator[Clip]:
        for part in self.parts:
            yield from self.clips_of(part)

    def clips_of(self, part: str) -> Iterator[Clip]:
        """The kept clips of one part, in table order."""
        rows = self.read_table(part, clip_schema().names)
        starts = range(0, rows.num_rows, _ROWS_AT_ONCE)
        return (Clip.of(row, part) for start in starts for row in _clip_rows(rows.slice(start, _ROWS_AT_ONCE)))

    def clip(self, sample_id: bytes) -> Clip:
        """The kept clip of this sample id. Raises `KeyError` where there is none."""
        row = self.find(sample_id)
        if row is None:
            raise KeyError(f"no kept clip of {self.clips!r} has the sample id {sample_id.hex()}")
        return self.clip_at(*row)

    def clip_at(self, part: str, index: int) -> Clip:
        """The kept clip in this row, of the kept ones of a part."""
        return Clip.of(_clip_rows(self.table(part).slice(index, 1))[0], part)

    @cached_property
    def frames(self) -> FrameReader:
        """Reads the frames; holds no tables."""
        tars = {record.part: record.file(CLIPS_FILE).key for record in self.raw.parts}
        facts = {record.part: FrameFacts.of(record) for record in self.raw.parts if "jpeg_quality" in record.facts}
        shared = {one: one for one in facts.values()}  # parts of one recipe have equal facts: one object, pickled once
        encodings = {part: shared[one] for part, one in facts.items()}
        raw = self.raw
        return FrameReader(store=raw.store, tars=tars, raw=repr(raw), ref=raw.short, encodings=encodings)

    @cached_property
    def raw(self) -> RawClips:
        """The artifact that holds the frames."""
        return self.clips.as_kind(RawClips) if self.judged is None else self.judged.raw


def _clip_rows(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of a sample table without columns of the user's own, whose values Python may be unable to hold."""
    rows: list[dict[str, Any]] = table.select([*clip_schema().names, "position"]).to_pylist()
    return rows


def clips_of(conversations: Conversations) -> ClipReader | None:
    """The clips that the clip ids of conversations refer to; None where they were read without any."""
    if "clips" not in conversations.head.inputs:
        return None
    clips = conversations.input("clips", Artifact)
    if clips.head.kind == KeptClips.kind:
        return ClipReader(clips.as_kind(KeptClips))
    return ClipReader(clips.as_kind(RawClips))
