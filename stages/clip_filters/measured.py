"""The measures of the clips of one part, as phase `measure` records them and the later phases read them.

measured.parquet    a row for each clip, in the order of the sample table: `own_reason`, why the clip is dropped or
                    failed by itself, null if it is not; its measures, null where its frames were not looked at;
                    hashes and digests by which it is compared, null where it is not compared
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import xxhash

from stages.clip_filters.frame_measures import FrameMeasures
from stages.clip_filters.near_duplicates import CLIP_FIELDS
from stages.formats.sample_table import sample_id_type

if TYPE_CHECKING:
    import pyarrow as pa

    from stages.formats.external_sort import Records

MEASURED_FILE: Final = "measured.parquet"
SCORES: Final = ("luma", "brightest", "contrast", "motion", "flicker")
"""Columns of measures, which the verdicts show too."""
HASHES: Final = ("hash_0", "hash_1", "hash_2")
COMPARED: Final = ("sample_id", "own_reason", *HASHES, "stretch", "caption")
"""Columns that the comparison reads."""
ROW_BITS: Final = 32
"""Bits of a clip's place that number its row; those above number its part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredClip:
    """One clip, after it was looked at by itself."""

    sample_id: bytes
    own_reason: str | None
    """Why it is not kept, whatever other clips are like; None if nothing is against it."""
    stretch: int
    """Digest of its video, begin and end: the same for one stretch under two captions."""
    caption: int
    """Digest of its caption."""
    measures: FrameMeasures | None
    """None where its frames were not looked at, or do not decode."""

    def row(self) -> dict[str, Any]:
        """The row of `measured.parquet`."""
        measures = self.measures
        row: dict[str, Any] = {"sample_id": self.sample_id, "own_reason": self.own_reason}
        row |= {name: None if measures is None else getattr(measures, name) for name in SCORES}
        is_compared = measures is not None and self.own_reason is None
        hashes = measures.hashes if measures is not None and is_compared else (None,) * len(HASHES)
        row |= dict(zip(HASHES, hashes, strict=True))
        return row | {"stretch": self.stretch, "caption": self.caption}


def measured_table(clips: Sequence[MeasuredClip]) -> pa.Table:
    """The rows as an Arrow table."""
    import pyarrow as pa

    kinds = {"sample_id": sample_id_type(), "own_reason": pa.string(), "luma": pa.float64(), "brightest": pa.int32()}
    kinds |= {"contrast": pa.int32(), "motion": pa.float64(), "flicker": pa.float64()}
    kinds |= dict.fromkeys((*HASHES, "stretch", "caption"), pa.uint64())
    return pa.Table.from_pylist([clip.row() for clip in clips], schema=pa.schema(kinds))


def compared_clips(table: pa.Table, part_number: int) -> Records:
    """The clips of a measured table that are compared, with their places."""
    import numpy as np
    import pyarrow.compute as pc

    rows = np.flatnonzero(pc.is_valid(table[HASHES[0]]).to_numpy(zero_copy_only=False))
    table = table.take(rows)
    clips = np.empty(len(rows), CLIP_FIELDS)
    clips["place"] = (np.uint64(part_number) << np.uint64(ROW_BITS)) | rows.astype(np.uint64)
    for name in (*HASHES, "stretch", "caption"):
        clips[name] = table[name].to_numpy()
    id_type = dict(CLIP_FIELDS)["sample_id"]
    clips["sample_id"] = np.frombuffer(b"".join(table["sample_id"].to_pylist()), id_type)
    return clips


def stretch_digest(video_sha256: bytes, start_seconds: float, end_seconds: float) -> int:
    """A digest of a stretch of a video, below 2**64."""
    return xxhash.xxh3_64_intdigest(video_sha256 + f"{start_seconds!r} {end_seconds!r}".encode())


def text_digest(text: str) -> int:
    """A digest of a text, below 2**64."""
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))
