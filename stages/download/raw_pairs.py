"""Writes one part of RawPairs: the tar and the sample table, both in the order of the URL table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.artifacts.kinds import PAIRS_FILE, SAMPLES_FILE
from stages.contract import PartDraft
from stages.download.fetching import RowOutcome
from stages.download.reasons import Reason
from stages.download.spool import SpooledPicture
from stages.download.url_rows import UrlRow, carried_columns
from stages.formats.sample_table import balance_of, sample_id_type, verdict_columns, write_table
from stages.formats.tar import TarWriter

if TYPE_CHECKING:
    import pyarrow as pa

PAIR_KEY_DIGITS = 10
"""Digits of a key, which is the row's number in the whole URL table: 10 billion rows."""
SHA256_BYTES = 32


def write_raw_pairs(
    rows: Sequence[UrlRow],
    outcomes: Sequence[RowOutcome],
    url_table: pa.Table,
    draft: PartDraft,
    *,
    spool: Path,
    first_row: int,
) -> None:
    """Write and count one part.

    `rows`, `outcomes` and `url_table` are parallel, a row each; `spool` holds the pictures. `first_row` is the number
    of the part's first row in the whole URL table, from which keys are counted: row 1,234 has the key `0000001234`.
    """
    keys = [f"{first_row + number:0{PAIR_KEY_DIGITS}d}" for number in range(len(rows))]
    samples = _samples(rows, outcomes, keys)
    carried = carried_columns(url_table, samples.column_names)
    offsets = _write_tar(draft.path(PAIRS_FILE), samples.to_pylist(), carried.to_pylist(), outcomes, spool)
    samples = _with_offsets(samples, offsets)
    for name in carried.column_names:
        samples = samples.append_column(name, carried[name])
    write_table(samples, draft.path(SAMPLES_FILE))
    draft.count(balance_of(samples))


def _samples(rows: Sequence[UrlRow], outcomes: Sequence[RowOutcome], keys: Sequence[str]) -> pa.Table:
    import pyarrow as pa

    kept = [outcome if isinstance(outcome, SpooledPicture) else None for outcome in outcomes]
    reasons = [outcome if isinstance(outcome, Reason) else None for outcome in outcomes]
    return pa.table(
        {
            "sample_id": pa.array([row.sample_id for row in rows], sample_id_type()),
            "url": pa.array([row.url for row in rows], pa.string()),
            "caption": pa.array([row.caption for row in rows], pa.string()),
            **verdict_columns(reasons),
            "retriable": pa.array([reason is not None and reason.retriable for reason in reasons], pa.bool_()),
            "sha256": pa.array([item and item.sha256 for item in kept], pa.binary(SHA256_BYTES)),
            "width_px": pa.array([item and item.width_px for item in kept], pa.int32()),
            "height_px": pa.array([item and item.height_px for item in kept], pa.int32()),
            "sent_as": pa.array([item and item.sent_as for item in kept], pa.string()),
            "key": pa.array([item and key for item, key in zip(kept, keys, strict=True)], pa.string()),
            "image_size_bytes": pa.array([item and item.size_bytes for item in kept], pa.int64()),
        }
    )


def _with_offsets(samples: pa.Table, offsets: Sequence[int | None]) -> pa.Table:
    import pyarrow as pa

    position = samples.column_names.index("image_size_bytes")
    return samples.add_column(position, "image_offset", pa.array(offsets, pa.int64()))


def _write_tar(
    path: Path,
    samples: Sequence[Mapping[str, Any]],
    carried: Sequence[Mapping[str, Any]],
    outcomes: Sequence[RowOutcome],
    spool: Path,
) -> list[int | None]:
    """Write the tar of the kept rows; returns for each row the offset of its picture in the tar, or None."""
    offsets: list[int | None] = [None] * len(samples)
    with TarWriter(path) as tar, spool.open("rb") as pictures:
        for number, (sample, further, outcome) in enumerate(zip(samples, carried, outcomes, strict=True)):
            if isinstance(outcome, SpooledPicture):
                pictures.seek(outcome.offset)
                data = pictures.read(outcome.size_bytes)
                members = {"jpg": data, "txt": sample["caption"].encode(), "json": _facts(sample, further)}
                offsets[number] = tar.add(sample["key"], members)["jpg"]
    return offsets


def _facts(sample: Mapping[str, Any], further: Mapping[str, Any]) -> bytes:
    """The json member: the row of the sample table, for readers that have the tar alone."""
    facts = {
        "sample_id": sample["sample_id"].hex(),
        "url": sample["url"],
        "caption": sample["caption"],
        "sha256": sample["sha256"].hex(),
        "width_px": sample["width_px"],
        "height_px": sample["height_px"],
        **{name: _plain(value) for name, value in further.items()},
    }
    return json.dumps(facts, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()


def _plain(value: object) -> object:
    """A carried value as JSON. NaN and infinity become null; types that JSON lacks (dates, bytes) become text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
