"""Reads image-text pairs: the sample table rows of kept pairs, and their image bytes by one range read each.

KeptPairs holds verdicts, and new columns at most, so its reader also opens what was judged (`kept_rows.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from stages.artifacts.artifact import Artifact, mended_by
from stages.artifacts.kinds import PAIRS_FILE, Conversations, KeptPairs, RawPairs
from stages.formats.kept_rows import KeptRows
from stages.formats.read_ahead import FileRange, joined, read_ahead
from stages.store.errors import CutShortError, StoreError
from stages.store.store import Store

# The others are the user's own: Python may be unable to hold their values, such as dates beyond the year 9999.
_PAIR_COLUMNS = ["sample_id", "sha256", "image_offset", "image_size_bytes", "url", "caption", "width_px", "height_px"]
_PAIR_COLUMNS += ["position"]


class StoredImage(NamedTuple):
    """Where the encoded image of a sample lies, and what its bytes must be."""

    sample_id: bytes
    """Sample id, 16 bytes."""
    sha256: bytes
    """Digest of the image's bytes."""
    offset: int
    """First byte of the image inside the `pairs.tar` of its part."""
    size_bytes: int
    """Length of the image's bytes."""
    part: str
    """Part of RawPairs or RawClips whose tar holds it."""
    pts: int | None = None
    """Presentation time of a frame in the MP4 that the bytes are, in its time base; None where they are a picture."""
    is_frame: bool = False
    """Whether it is a frame of a clip, in `clips.tar`."""

    @property
    def range(self) -> FileRange:
        """Its bytes in the tar of its part."""
        return FileRange(self.part, self.offset, self.size_bytes)


@dataclass(frozen=True, slots=True)
class Pair:
    """One kept pair: what its sample table says."""

    image: StoredImage
    """Where its image lies."""
    url: str
    """Address that the image was downloaded from."""
    caption: str
    """Text beside the image."""
    width_px: int
    """Width after EXIF orientation, in pixels."""
    height_px: int
    """Height after EXIF orientation, in pixels."""
    position: int
    """Row of `verdicts.parquet` (KeptPairs) or `samples.parquet` (RawPairs) in its part."""

    @property
    def sample_id(self) -> bytes:
        """Sample id, 16 bytes."""
        return self.image.sample_id

    @property
    def part(self) -> str:
        """Part that lists the pair; KeptPairs and RawPairs have the same part names."""
        return self.image.part


@dataclass(frozen=True, kw_only=True)
class ImageReader:
    """Reads images by their position in tars.

    Holds one key for each part and no tables: cheap to send to workers, even for many thousand parts.
    """

    store: Store
    """Store that holds the tars."""
    tars: Mapping[str, str]
    """Part to the key of its tar."""
    raw: str
    """Name of the artifact in errors, such as `RawPairs(download_pairs/0123456789ab)`."""
    ref: str
    """Short fingerprint of the artifact, for the command that errors suggest."""

    def image_of(self, image: StoredImage) -> bytes:
        """The encoded image, by one range read. Raises `StoreError` where it is not the one that was committed."""
        return self.checked(image, self.read(image.part, image.offset, image.size_bytes))

    def read(self, part: str, offset: int, size_bytes: int) -> bytes:
        """A stretch of the tar of a part. Raises `StoreError` where it is missing."""
        key = self.tars[part]
        try:
            return self.store.read_range(key, offset, size_bytes)
        except FileNotFoundError as error:
            raise self._damaged(key, "is missing") from error
        except CutShortError as error:
            raise self._damaged(key, f"is cut short ({error})") from error

    def checked(self, image: StoredImage, data: bytes) -> bytes:
        """`data`, which was read for `image`. Raises `StoreError` where it is not what was committed."""
        if hashlib.sha256(data).digest() != image.sha256:
            raise self._damaged(
                self.tars[image.part],
                f"is damaged at byte {image.offset}: the image of sample {image.sample_id.hex()} is not the one "
                "that was downloaded",
            )
        return data

    def images_of(self, images: Sequence[StoredImage]) -> list[bytes]:
        """`image_of` each of them, in order."""
        return list(map(self.image_of, images))

    def together(self, images: Sequence[StoredImage], *, ahead: bool) -> Iterator[bytes]:
        """`image_of` each of them, in order; neighbours in a tar are one read, of at most 16 MiB.

        In memory is one such read, or with `ahead` those that are prefetched from an object store.
        """
        groups = joined([image.range for image in images])
        reads = read_ahead(self.store, self._read_group, groups) if ahead else map(self._read_group, groups)
        waiting = iter(images)
        for group, data in zip(groups, reads, strict=True):
            for one in group:
                start = one.offset - group[0].offset
                yield self.checked(next(waiting), data[start : start + one.size_bytes])

    def _read_group(self, group: Sequence[FileRange]) -> bytes:
        first, last = group[0], group[-1]
        return self.read(first.file, first.offset, last.offset + last.size_bytes - first.offset)

    def _damaged(self, key: str, damage: str) -> StoreError:
        return StoreError(f"{key} of {self.raw} {damage}; {mended_by(self.ref)}")


class PairReader(KeptRows):
    """The kept pairs of an artifact, in table order. A pickled reader is small: cached tables are left out."""

    raw_kind, kept_kind = RawPairs, KeptPairs

    def __init__(self, pairs: KeptPairs | RawPairs) -> None:
        super().__init__(pairs)
        self.pairs = pairs

    def __reduce__(self) -> tuple[Any, ...]:
        return PairReader, (self.pairs,)

    def __iter__(self) -> Iterator[Pair]:
        for part in self.parts:
            yield from self.pairs_of(part)

    def pairs_of(self, part: str) -> Iterator[Pair]:
        """The kept pairs of one part, in table order."""
        return (_pair(row, part) for row in self.read_table(part).select(_PAIR_COLUMNS).to_pylist())

    def pair(self, sample_id: bytes) -> Pair:
        """The kept pair of this sample id. Raises `KeyError` where there is none."""
        row = self.find(sample_id)
        if row is None:
            raise KeyError(f"no kept pair of {self.pairs!r} has the sample id {sample_id.hex()}")
        part, index = row
        return _pair(self.table(part).select(_PAIR_COLUMNS).slice(index, 1).to_pylist()[0], part)

    def image(self, sample_id: bytes) -> bytes:
        """The encoded image of this sample id: one range read, its digest checked."""
        return self.image_of(self.pair(sample_id).image)

    def image_of(self, image: StoredImage) -> bytes:
        """The encoded image, by one range read. Raises `StoreError` where it is not the one that was committed."""
        return self.images.image_of(image)

    @cached_property
    def images(self) -> ImageReader:
        """Reads the images; holds no tables."""
        tars = {record.part: record.file(PAIRS_FILE).key for record in self.raw.parts}
        return ImageReader(store=self.raw.store, tars=tars, raw=repr(self.raw), ref=self.raw.short)

    @cached_property
    def raw(self) -> RawPairs:
        """The artifact that holds the image bytes."""
        return self.pairs.as_kind(RawPairs) if self.judged is None else self.judged.raw


class NoPairs(PairReader):
    """The pictures of conversations that were read without any: none is found."""

    def __init__(self) -> None:
        pass

    def __reduce__(self) -> tuple[Any, ...]:
        return NoPairs, ()

    def pair(self, sample_id: bytes) -> Pair:
        """Raises `KeyError`: there is no pair."""
        raise KeyError(f"the conversations were read without pictures; there is none called {sample_id.hex()}")


def pictures_of(conversations: Conversations) -> PairReader:
    """The pairs that the image ids of conversations refer to; `NoPairs` where they were read without any."""
    if "pictures" not in conversations.head.inputs:
        return NoPairs()
    pictures = conversations.input("pictures", Artifact)
    if pictures.head.kind == KeptPairs.kind:
        return PairReader(pictures.as_kind(KeptPairs))
    return PairReader(pictures.as_kind(RawPairs))


def _pair(row: dict[str, Any], part: str) -> Pair:
    image = StoredImage(row["sample_id"], row["sha256"], row["image_offset"], row["image_size_bytes"], part)
    return Pair(image, row["url"], row["caption"], row["width_px"], row["height_px"], row["position"])
