"""Writes one part of RawPairs: the tar and the sample table, both in the order of the URL table.

Rows with one picture, such as those of one URL under many captions, share its members in the tar, which lie there under
the key, caption and facts of the first of them. The column `key` names those members.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stages.artifacts.kinds import PAIRS_FILE, SAMPLES_FILE
from stages.contract import PartDraft
from stages.download.manners.usage_terms import UsageTerms
from stages.download.reasons import Reason
from stages.download.spool import SpooledPicture
from stages.download.url_rows import NAMING_COLUMNS, UrlRow
from stages.formats.losses import examples_of
from stages.formats.sample_table import ItemReason, balance_of, sample_id_type, verdict_columns, write_table
from stages.formats.tar import TarWriter
from stages.origins.json_values import json_rows
from stages.origins.tables.row_batches import MALFORMED
from stages.takedowns.tombstones import Tombstones

if TYPE_CHECKING:
    import pyarrow as pa

    from stages.takedowns.tombstones import Mask

ROWS_OF_A_PART: Final = 1_000_000
"""Distance between the first keys of two parts whose rows are those of no table, so that keys differ across parts:
those of part 7 begin at 7000000."""
PAIR_KEY_DIGITS = 10
"""Digits of a key, which is the row's number in the whole URL table: 10 billion rows."""
SHA256_BYTES = 32
_JUDGED_COLUMNS = ("verdict", "reason", "retriable", "sha256", "width_px", "height_px", "sent_as")
_TERMS_COLUMNS = ("robots_txt", "usage_headers")
_STORED_COLUMNS = ("key", "image_offset", "image_size_bytes", "position", "reference")
RESERVED_COLUMNS = frozenset(("sample_id", *NAMING_COLUMNS, *_JUDGED_COLUMNS, *_TERMS_COLUMNS, *_STORED_COLUMNS))
"""Names that a column of the user's own may not have: sample tables of pairs use them, or their readers do."""


def write_raw_pairs(
    rows: Sequence[UrlRow],
    outcomes: Sequence[SpooledPicture | ItemReason],
    url_table: pa.Table,
    draft: PartDraft,
    *,
    spool: Path,
    first_row: int | Sequence[int],
    shown_row: int | None = None,
    terms: Sequence[UsageTerms] | None = None,
) -> pa.Table:
    """Write and count one part; returns its sample table.

    `rows`, `outcomes` and `url_table` are parallel, a row each; `spool` holds the pictures. `first_row` is the number
    of the part's first row in the whole URL table, from which keys are counted: row 1,234 has the key `0000001234`, or
    that of an earlier row of the part whose picture it shares. Rows that do not follow each other there have a number
    each; those that were not kept then have their key in the table too.
    `shown_row` is how examples of lost rows call it, where keys are not counted by rows.
    `terms`, parallel too where web servers were asked, is what they said about the use of each picture.
    Columns of `url_table` but URL and caption are carried along as they are, so none may be in `RESERVED_COLUMNS`.
    Records as facts an example of each reason, and how many carried values the json members cannot spell.
    """
    samples = _samples(rows, outcomes, keys_of(outcomes, first_row))
    carried = url_table.select([name for name in url_table.column_names if name not in NAMING_COLUMNS])
    offsets, unspelled = write_tar(draft.path(PAIRS_FILE), samples.to_pylist(), carried, outcomes, spool)
    samples = _with_offsets(samples, offsets)
    samples = samples if terms is None else _with_terms(samples, terms)
    for field in carried.schema:
        samples = samples.append_column(field, carried[field.name])
    write_table(samples, draft.path(SAMPLES_FILE))
    draft.count(balance_of(samples))
    counted_from = first_row if isinstance(first_row, int) else None
    draft.fact(**examples_of(samples, ["url", "caption", MALFORMED], counted_from if shown_row is None else shown_row))
    if unspelled:
        draft.fact(num_unspelled=unspelled)
    return samples


def without_taken_down(
    rows: Sequence[UrlRow],
    outcomes: Sequence[SpooledPicture | ItemReason],
    table: pa.Table,
    tombstones: Tombstones | None,
) -> tuple[list[UrlRow], list[SpooledPicture | ItemReason], pa.Table]:
    """The same rows without anything of those that are to be forgotten, but for their sample ids.

    They are known by URL, reference, caption, sample id or the bytes of their picture. All three are parallel.
    """
    import pyarrow as pa

    if not tombstones:
        return list(rows), list(outcomes), table
    names = {"url": [row.url for row in rows], "caption": [row.caption for row in rows]}
    asked = pa.table({name: pa.array(values, pa.string()) for name, values in names.items()})
    asked = asked.append_column("sample_id", pa.array([row.sample_id for row in rows], sample_id_type()))
    hashes = [outcome.sha256 if isinstance(outcome, SpooledPicture) else None for outcome in outcomes]
    asked = asked.append_column("sha256", pa.array(hashes, pa.binary(SHA256_BYTES)))
    if "reference" in table.column_names:
        asked = asked.append_column("reference", table["reference"])
    gone = tombstones.rows_of(asked)
    if not gone.any():
        return list(rows), list(outcomes), table
    nothing = [UrlRow(row.sample_id, None, None, None, Reason.TAKEN_DOWN) for row in rows]
    return (
        [nothing[number] if gone[number] else row for number, row in enumerate(rows)],
        [Reason.TAKEN_DOWN if gone[number] else outcome for number, outcome in enumerate(outcomes)],
        blanked(table, gone),
    )


def blanked(table: pa.Table, gone: Mask) -> pa.Table:
    """The table with nothing but nulls in these rows."""
    import numpy as np
    import pyarrow as pa

    return table.take(pa.array(np.arange(table.num_rows), mask=gone))


def keys_of(outcomes: Sequence[SpooledPicture | ItemReason], first_row: int | Sequence[int]) -> list[str | None]:
    """The key of each row's members in the tar: that of the first row with the same picture in the spool.

    A row that was not kept has one where rows do not follow each other, because its number is known by it alone.
    """
    rows = range(first_row, first_row + len(outcomes)) if isinstance(first_row, int) else first_row
    of_picture: dict[int, int] = {}
    keys: list[str | None] = []
    for row, outcome in zip(rows, outcomes, strict=True):
        if isinstance(outcome, SpooledPicture):
            keys.append(f"{of_picture.setdefault(outcome.offset, row):0{PAIR_KEY_DIGITS}d}")
        else:
            keys.append(None if isinstance(first_row, int) else f"{row:0{PAIR_KEY_DIGITS}d}")
    return keys


def _samples(
    rows: Sequence[UrlRow], outcomes: Sequence[SpooledPicture | ItemReason], keys: Sequence[str | None]
) -> pa.Table:
    import pyarrow as pa

    kept = [outcome if isinstance(outcome, SpooledPicture) else None for outcome in outcomes]
    reasons = [outcome if isinstance(outcome, ItemReason) else None for outcome in outcomes]
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
            "key": pa.array(keys, pa.string()),
            "image_size_bytes": pa.array([item and item.size_bytes for item in kept], pa.int64()),
        }
    )


def _with_offsets(samples: pa.Table, offsets: Sequence[int | None]) -> pa.Table:
    import pyarrow as pa

    position = samples.column_names.index("image_size_bytes")
    return samples.add_column(position, "image_offset", pa.array(offsets, pa.int64()))


def _with_terms(samples: pa.Table, terms: Sequence[UsageTerms]) -> pa.Table:
    """The samples with the evidence of what servers said; null in rows of which nobody was asked."""
    import pyarrow as pa

    samples = samples.append_column("robots_txt", pa.array([one.robots for one in terms], pa.string()))
    return samples.append_column("usage_headers", pa.array([one.headers for one in terms], pa.string()))


def _further(
    carried: pa.Table, outcomes: Sequence[SpooledPicture | ItemReason]
) -> tuple[Iterator[Mapping[str, Any]], dict[str, int]]:
    """The carried values of the kept rows as JSON, and column to how many of them JSON cannot spell."""
    names = [name for name in carried.column_names if name != MALFORMED]
    kept = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, SpooledPicture)]
    if not names or not kept:
        return iter([{}] * len(kept)), {}
    rows, unspelled = json_rows(carried.select(names).take(kept))
    return iter(rows), unspelled


def write_tar(
    path: Path,
    samples: Sequence[Mapping[str, Any]],
    carried: pa.Table,
    outcomes: Sequence[SpooledPicture | ItemReason],
    spool: Path,
) -> tuple[list[int | None], dict[str, int]]:
    """Write the tar of the kept rows, whose pictures lie in the file `spool`.

    Returns for each row the offset of its picture in the tar, or None, and column of `carried` to how many of its
    values JSON cannot spell. Rows that share a place in the spool share the picture in the tar, which lies there under
    the first one's key.
    """
    further, unspelled = _further(carried, outcomes)
    offsets: list[int | None] = [None] * len(samples)
    written: dict[int, int] = {}
    with TarWriter(path) as tar, spool.open("rb") as pictures:
        for number, (sample, outcome) in enumerate(zip(samples, outcomes, strict=True)):
            if not isinstance(outcome, SpooledPicture):
                continue
            carried = next(further)
            if outcome.offset not in written:
                pictures.seek(outcome.offset)
                data = pictures.read(outcome.size_bytes)
                members = {"jpg": data, "txt": sample["caption"].encode(), "json": _facts(sample, carried)}
                written[outcome.offset] = tar.add(sample["key"], members)["jpg"]
            offsets[number] = written[outcome.offset]
    return offsets, unspelled


def _facts(sample: Mapping[str, Any], further: Mapping[str, Any]) -> bytes:
    """The json member: the row of the sample table, for readers that have the tar alone."""
    facts = {
        "sample_id": sample["sample_id"].hex(),
        "url": sample["url"],
        "caption": sample["caption"],
        "sha256": sample["sha256"].hex(),
        "width_px": sample["width_px"],
        "height_px": sample["height_px"],
        **further,
    }
    return json.dumps(facts, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()
