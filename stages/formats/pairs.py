"""Reads image-text pairs: the sample table rows of kept pairs, and their image bytes by one range read each.

KeptPairs holds verdicts only, so its reader also opens the RawPairs that were judged. Both artifacts have the same part
names, and row i of a verdict table is about the i-th kept row of the sample table of the same part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from stages.artifacts.artifact import Artifact, mended_by
from stages.artifacts.kinds import PAIRS_FILE, SAMPLES_FILE, VERDICTS_FILE, Conversations, KeptPairs, RawPairs
from stages.formats.sample_table import SAMPLE_ID_BYTES, Verdict, read_table
from stages.store.errors import CutShortError, StoreError
from stages.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

NUM_CACHED_PARTS = 64
"""Sample tables that a reader keeps in memory: those that it read last."""


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
    """Part of RawPairs whose `pairs.tar` holds it."""


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
        key = self.tars[image.part]
        try:
            data = self.store.read_range(key, image.offset, image.size_bytes)
        except FileNotFoundError as error:
            raise self._damaged(key, "is missing") from error
        except CutShortError as error:
            raise self._damaged(key, f"is cut short ({error})") from error
        if hashlib.sha256(data).digest() != image.sha256:
            raise self._damaged(
                key,
                f"is damaged at byte {image.offset}: the image of sample {image.sample_id.hex()} is not the one "
                "that was downloaded",
            )
        return data

    def _damaged(self, key: str, damage: str) -> StoreError:
        return StoreError(f"{key} of {self.raw} {damage}; {mended_by(self.ref)}")


class PairReader:
    """The kept pairs of an artifact, in table order. A pickled reader is small: cached tables are left out."""

    def __init__(self, pairs: KeptPairs | RawPairs) -> None:
        self.pairs = pairs
        self._tables: dict[str, pa.Table] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return PairReader, (self.pairs,)

    @property
    def num_kept(self) -> int:
        """Kept pairs in all parts."""
        return self.pairs.manifest.items.kept

    @property
    def parts(self) -> list[str]:
        """Names of the parts, in order."""
        return [record.part for record in self.pairs.parts]

    def __iter__(self) -> Iterator[Pair]:
        for part in self.parts:
            yield from self.pairs_of(part)

    def pairs_of(self, part: str) -> Iterator[Pair]:
        """The kept pairs of one part, in table order."""
        return (_pair(row, part) for row in self.read_table(part).to_pylist())

    def table(self, part: str) -> pa.Table:
        """`read_table`, cached: the last `NUM_CACHED_PARTS` tables that were read stay in memory."""
        if part not in self._tables:
            if len(self._tables) >= NUM_CACHED_PARTS:
                self._tables.pop(next(iter(self._tables)))
            self._tables[part] = self.read_table(part)
        return self._tables[part]

    def pair(self, sample_id: bytes) -> Pair:
        """The kept pair of this sample id. Raises `KeyError` where there is none."""
        row = self._find(sample_id)
        if row is None:
            raise KeyError(f"no kept pair of {self.pairs!r} has the sample id {sample_id.hex()}")
        part, index = row
        return _pair(self.table(part).slice(index, 1).to_pylist()[0], part)

    def image(self, sample_id: bytes) -> bytes:
        """The encoded image of this sample id: one range read, its digest checked."""
        return self.image_of(self.pair(sample_id).image)

    def image_of(self, image: StoredImage) -> bytes:
        """The encoded image, by one range read. Raises `StoreError` where it is not the one that was committed."""
        return self.images.image_of(image)

    def sample_id_of(self, url: str) -> bytes | None:
        """The sample id of the first kept pair with this URL, or None."""
        return self._sample_ids_by_url.get(url)

    @cached_property
    def images(self) -> ImageReader:
        """Reads the images; holds no tables."""
        tars = {record.part: record.file(PAIRS_FILE).key for record in self.raw.parts}
        return ImageReader(store=self.raw.store, tars=tars, raw=repr(self.raw), ref=self.raw.short)

    @cached_property
    def raw(self) -> RawPairs:
        """The artifact that holds the image bytes."""
        return self.pairs if isinstance(self.pairs, RawPairs) else self.pairs.input("raw", RawPairs)

    def read_table(self, part: str) -> pa.Table:
        """The sample table of one part, kept rows only, carried columns included, with their `position`."""
        import pyarrow as pa
        import pyarrow.compute as pc

        samples = self._samples(part)
        if not isinstance(self.pairs, RawPairs):
            samples = samples.filter(pc.equal(samples["verdict"], Verdict.KEPT.value))
            judged = read_table(self.pairs.read(self.pairs.part(part).file(VERDICTS_FILE)))
            if judged["sample_id"] != samples["sample_id"]:
                raise StoreError(f"{self.pairs!r}: part {part} judges other samples than {self.raw!r} kept there")
            samples = samples.set_column(samples.column_names.index("verdict"), "verdict", judged["verdict"])
        samples = samples.append_column("position", pa.array(range(samples.num_rows), pa.int32()))
        return samples.filter(pc.equal(samples["verdict"], Verdict.KEPT.value))

    def _samples(self, part: str) -> pa.Table:
        return read_table(self.raw.read(self.raw.part(part).file(SAMPLES_FILE)))

    def _find(self, sample_id: bytes) -> tuple[str, int] | None:
        """Part and row of `table(part)` that hold a sample."""
        import numpy as np

        ids, order, first_rows = self._index
        wanted = np.array(sample_id, dtype=ids.dtype)
        at = int(np.searchsorted(ids, wanted, sorter=order))
        if at == len(ids) or ids[order[at]] != wanted:
            return None
        row = int(order[at])
        number = int(np.searchsorted(first_rows, row, side="right")) - 1
        return self.parts[number], row - int(first_rows[number])

    @cached_property
    def _index(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All sample ids in table order, their sorted order, and the first row of each part."""
        import numpy as np

        columns = [self.table(part)["sample_id"].combine_chunks() for part in self.parts]
        ids = np.concatenate([np.array(column.to_pylist(), dtype=f"S{SAMPLE_ID_BYTES}") for column in columns])
        first_rows = np.cumsum([0, *(len(column) for column in columns[:-1])])
        return ids, np.argsort(ids, kind="stable"), first_rows

    @cached_property
    def _sample_ids_by_url(self) -> dict[str, bytes]:
        sample_ids: dict[str, bytes] = {}
        for part in self.parts:
            table = self.table(part)
            for url, sample_id in zip(table["url"].to_pylist(), table["sample_id"].to_pylist(), strict=True):
                sample_ids.setdefault(url, sample_id)
        return sample_ids


def pictures_of(conversations: Conversations) -> PairReader:
    """The pairs that the image ids of conversations refer to."""
    pictures = conversations.input("pictures", Artifact)
    kind = KeptPairs if pictures.manifest.kind == KeptPairs.kind else RawPairs
    return PairReader(kind(pictures.store, pictures.manifest))


def _pair(row: dict[str, Any], part: str) -> Pair:
    image = StoredImage(row["sample_id"], row["sha256"], row["image_offset"], row["image_size_bytes"], part)
    return Pair(image, row["url"], row["caption"], row["width_px"], row["height_px"], row["position"])
