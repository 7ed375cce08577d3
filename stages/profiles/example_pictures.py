"""Reads the stored pictures of examples: of pairs, of clips, and of the better ones that examples repeat.

Each reader is small and pickles, without the tables that it holds. A picture is one range read; of clips and of better
ones, some columns of one part's table are read before it. A
table of clips is kept until another part is asked for, so examples are drawn in the order of their parts.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from stages.artifacts.kinds import PAIRS_FILE, KeptClips, KeptPairs, RawClips, RawPairs
from stages.artifacts.records import PartRecord
from stages.formats.clip_reader import ClipReader
from stages.formats.clips import Clip, clip_schema
from stages.formats.pairs import ImageReader, PairReader, StoredImage
from stages.profiles.profile import Example
from stages.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

PictureReader: TypeAlias = Callable[[Example], "bytes | None"]
"""The encoded picture of an example, None where it has none. Raises `StoreError`, `ValueError` or `KeyError` where it
cannot be read."""
_STORED = ["sample_id", "sha256", "image_offset", "image_size_bytes"]


def images_of_parts(store: Store, records: Sequence[PartRecord]) -> ImageReader:
    """Reads the pictures in the tars of these parts, of an artifact that is not committed yet."""
    tars = {record.part: record.file(PAIRS_FILE).key for record in records}
    return ImageReader(store=store, tars=tars, raw="the artifact that is being made", ref="REF")


@dataclass(frozen=True)
class PairPictures:
    """The pictures of pairs, which examples say the place of."""

    images: ImageReader

    def __call__(self, example: Example) -> bytes | None:
        if example.image is None:
            return None
        offset, size_bytes, sha256 = example.image
        sample_id, digest = bytes.fromhex(example.sample_id), bytes.fromhex(sha256)
        return self.images.image_of(StoredImage(sample_id, digest, offset, size_bytes, example.part))


class ClipPictures:
    """The middle frames of clips. Holds the clips of the part that it was asked for last, without further columns."""

    def __init__(self, clips: RawClips | KeptClips) -> None:
        self.clips = clips
        self._table: tuple[str, pa.Table] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return ClipPictures, (self.clips,)

    @cached_property
    def _reader(self) -> ClipReader:
        return ClipReader(self.clips)

    def __call__(self, example: Example) -> bytes | None:
        (row,) = self._table_of(example.part).slice(example.row, 1).to_pylist()
        frames = Clip.of(row, example.part).frames
        return self._reader.frames.images_of([frames[len(frames) // 2]])[0] if frames else None

    def _table_of(self, part: str) -> pa.Table:
        if self._table is None or self._table[0] != part:
            names = clip_schema().names
            table = self._reader.read_table(part, names)
            self._table = part, table.select([*names, "position"])
        return self._table[1]


class PartOfRows(NamedTuple):
    """Consecutive rows, counted through all sources: those of one part of one source."""

    first_row: int
    source: str
    part: str


@dataclass(frozen=True)
class BetterPictures:
    """The pictures of the better pairs that examples repeat, found by their rows."""

    sources: Mapping[str, RawPairs | KeptPairs]
    stretches: Sequence[PartOfRows]
    """All parts of all sources, by rising first row."""

    def __call__(self, example: Example) -> bytes | None:
        if example.better_row is None:
            return None
        place = bisect.bisect_right(self.stretches, example.better_row, key=lambda one: one.first_row) - 1
        stretch = self.stretches[place]
        reader = PairReader(self.sources[stretch.source])
        table = reader.read_table(stretch.part, _STORED)
        (row,) = table.select(_STORED).slice(example.better_row - stretch.first_row, 1).to_pylist()
        offset, size_bytes = row["image_offset"], row["image_size_bytes"]
        return reader.image_of(StoredImage(row["sample_id"], row["sha256"], offset, size_bytes, stretch.part))
