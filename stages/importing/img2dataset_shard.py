"""One shard of an img2dataset folder as pairs: its table has every row, its tar or folder the pictures that were got.

    00000.parquet      a row for each URL: url, caption, key, status, error_message, sizes, and the user's columns
    00000.tar          {key}.jpg, {key}.txt, {key}.json of the rows whose status is `success`; or a folder `00000/`
    00000_stats.json   how many rows the shard was given

The rows that failed are taken over with their reasons. A row that should have a picture and has none, and a row that
the statistics count and nothing lists, end as failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from stages.contract import StageError
from stages.download.raw_pairs import ROWS_OF_A_PART
from stages.formats.sample_table import ItemReason, text_column
from stages.importing.captions import PairRule, parsed_json
from stages.importing.forms import STATS_ENDING
from stages.importing.img2dataset_reasons import SUCCESS, reason_of
from stages.importing.imported_pairs import ImportedPair
from stages.importing.intake import Intake, Outcome
from stages.importing.reasons import ImportReason
from stages.importing.tar_pairs import pair_of
from stages.importing.tar_samples import TarContents, TarSample

if TYPE_CHECKING:
    import pyarrow as pa

NEEDED: Final = ("url", "key", "status", "error_message")


def shard_pairs(
    table: pa.Table, contents: TarContents, stem: str, rule: PairRule, intake: Intake
) -> tuple[list[ImportedPair], pa.Table]:
    """The pairs of the shard at `stem` (such as `00000`), and the columns that are carried, row by row.

    First the rows of the table, in its order, then samples of the tar that the table does not list. Raises `StageError`
    where the table is not one of img2dataset.
    """
    import pyarrow as pa

    by_key = {sample.key.rpartition("/")[2]: sample for sample in reversed(contents.samples)}
    texts = _texts(table, rule, f"table {stem}.parquet")
    pairs = []
    for number in range(table.num_rows):
        row = {name: column[number] for name, column in texts.items()}
        pairs.append(_pair_of_row(row, by_key, contents, stem, rule))
        if row["status"] != SUCCESS and reason_of(row["status"], row["error_message"]) == "unexplained":
            intake.remark(f"{row['status']}: {row['error_message']}")
    listed = set(texts["key"])
    further = [sample for sample in contents.samples if sample.key.rpartition("/")[2] not in listed]
    pairs += [replace(pair_of(sample, f"{stem}.tar", rule), path=stem) for sample in further]
    rows = pa.array([*range(table.num_rows), *([None] * len(further))], pa.int64())
    carried = table.select([name for name in table.column_names if name not in ("url", _caption_column(table, rule))])
    return pairs, carried.take(rows)


def not_listed(stats: bytes, num_rows: int, stem: str) -> list[ImportedPair]:
    """A failed pair for each row that the statistics of a shard count beyond the `num_rows` that were found.

    Raises `StageError` where they count more rows than a part may have.
    """
    try:
        count = parsed_json(stats)["count"]
    except (ValueError, KeyError, TypeError):
        return []
    reason = ImportReason.NOT_LISTED
    if isinstance(count, int) and count > ROWS_OF_A_PART:
        raise StageError(
            f"{stem}{STATS_ENDING} counts {count:,} rows of a shard, and {ROWS_OF_A_PART:,} are the most that one may "
            f"have; where the number is wrong, leave the file out of the source"
        )
    missing = range(num_rows, count) if isinstance(count, int) else ()
    return [
        ImportedPair(path=stem, key=f"row-{number}", reference=stem, url=None, caption=reason, outcome=reason)
        for number in missing
    ]


def _pair_of_row(
    row: Mapping[str, str | None], by_key: Mapping[str, TarSample], contents: TarContents, stem: str, rule: PairRule
) -> ImportedPair:
    key = row["key"] or ""
    reason = reason_of(row["status"], row["error_message"])
    sample = by_key.get(key)
    outcome: Outcome = reason or ImportReason.IMAGE_MISSING
    reference, caption = f"{stem}/{key}", _caption_of_row(row, sample, rule, key)
    if reason is None and sample is not None:
        found = pair_of(sample, stem, rule)
        outcome, reference = found.outcome, found.reference
    elif reason is None and contents.broken is not None:
        outcome = contents.broken.reason
    return ImportedPair(path=stem, key=key, reference=reference, url=row["url"], caption=caption, outcome=outcome)


def _caption_of_row(
    row: Mapping[str, str | None], sample: TarSample | None, rule: PairRule, key: str
) -> str | bytes | ItemReason:
    """The caption of the table; that of the tar, where the table has no such column."""
    if rule.captions != "beside":
        return rule.caption({}, key)
    if "caption" in row:
        caption = row["caption"]
        return ImportReason.NO_CAPTION if caption is None else caption
    return ImportReason.NO_CAPTION if sample is None else rule.caption(sample.texts, key)


def _caption_column(table: pa.Table, rule: PairRule) -> str | None:
    name = rule.columns.get("caption", "caption")
    return name if name in table.column_names else None


def _texts(table: pa.Table, rule: PairRule, whose: str) -> dict[str, Sequence[str | None]]:
    """The columns of a shard's table that are looked at, as text; bytes that are not UTF-8 become surrogates."""
    if missing := [name for name in NEEDED if name not in table.column_names]:
        raise StageError(
            f"{whose} has no column {', '.join(missing)}, which img2dataset writes; it has "
            f"{', '.join(table.column_names)}. If its tars are plain WebDataset, say form='webdataset'"
        )
    wanted = {name: name for name in NEEDED}
    caption = _caption_column(table, rule)
    wanted |= {} if caption is None else {"caption": caption}
    return {
        name: [
            None if text is None else text.decode("utf-8", "surrogateescape")
            for text in text_column(table, theirs, whose)
        ]
        for name, theirs in wanted.items()
    }
