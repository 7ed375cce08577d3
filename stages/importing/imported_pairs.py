"""Writes the pairs of one imported part as a part of RawPairs, and names them.

A sample id is hashed from the source's name, the path of the file, the key or row in that file, and the caption. These
are unique in a source but for keys that one file repeats, which get ordinals; so no part needs to know of another.
Memory grows with the rows of a part, by about 1 KB each, and not with their pictures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages.contract import PartDraft
from stages.download.manners.usage_terms import UsageTerms
from stages.download.raw_pairs import RESERVED_COLUMNS, ROWS_OF_A_PART, without_taken_down, write_raw_pairs
from stages.download.reasons import Reason
from stages.download.spool import SpooledPicture
from stages.download.url_rows import UrlRow
from stages.formats.sample_table import ItemReason
from stages.importing.intake import Outcome
from stages.importing.reasons import ImportReason
from stages.origins.clean_text import TextEncodingError, clean_text
from stages.origins.sample_id import sample_id
from stages.takedowns.tombstones import Tombstones

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedPair:
    """One pair as its source has it."""

    path: str
    """File of the source that holds it, relative to the place of the source."""
    key: str
    """Key or row in that file."""
    reference: str
    """What a conversation would call its picture: a path in the source, or in a tar of it."""
    url: str | None
    """Web address of the picture; None where the source does not say."""
    caption: str | bytes | ItemReason
    """The text beside the picture, or why there is none."""
    outcome: Outcome
    """The picture, or why there is none."""


def carried_name(name: str) -> str:
    """The name under which a column of the source is carried: `key` becomes `source_key`."""
    return f"source_{name}" if name in RESERVED_COLUMNS else name


def write_pairs(
    pairs: Sequence[ImportedPair],
    carried: pa.Table | None,
    draft: PartDraft,
    *,
    source: str,
    spool: Path,
    number: int,
    tombstones: Tombstones | None = None,
    terms: Sequence[UsageTerms] | None = None,
) -> pa.Table:
    """Write and count part `number` of the source named `source`; returns its sample table.

    `carried` is a table parallel to `pairs`, if any, and `terms` what web servers said, where they were asked.
    Nothing of what is to be forgotten is written.
    """
    import pyarrow as pa

    rows, outcomes = _named(pairs, source)
    references = pa.array([_as_text(pair.reference) for pair in pairs], pa.string())
    table = pa.table({"reference": references})
    if carried is not None:
        for name in carried.column_names:
            table = table.append_column(carried_name(name), carried[name])
    rows, outcomes, table = without_taken_down(rows, outcomes, table, tombstones)
    first_row = number * ROWS_OF_A_PART
    return write_raw_pairs(rows, outcomes, table, draft, spool=spool, first_row=first_row, shown_row=0, terms=terms)


def _named(pairs: Sequence[ImportedPair], source: str) -> tuple[list[UrlRow], list[Outcome]]:
    """The rows with their sample ids and cleaned captions, and how each ended."""
    times: Counter[tuple[str, str, bytes]] = Counter()
    pictures: set[tuple[tuple[str, str, bytes], bytes]] = set()
    rows, outcomes = [], []
    for pair in pairs:
        caption, outcome = _judged(pair)
        identity = (pair.path, pair.key, (caption or "").encode())
        if isinstance(outcome, SpooledPicture):
            if (identity, outcome.sha256) in pictures:
                outcome = ImportReason.REPEATED_ROW
            else:
                pictures.add((identity, outcome.sha256))
        fields = [_as_text(pair.path).encode(), _as_text(pair.key).encode(), identity[2]]
        row_id = sample_id(source, fields, times[identity])
        times[identity] += 1
        url = pair.url if pair.url is not None else f"{source}:{pair.reference}"
        rows.append(UrlRow(row_id, _as_text(url), caption, None, None))
        outcomes.append(outcome)
    return rows, outcomes


def _judged(pair: ImportedPair) -> tuple[str | None, Outcome]:
    """The cleaned caption, and how the pair ended: a picture that cannot be had is named before a missing caption."""
    if isinstance(pair.caption, ItemReason):
        return None, pair.caption if isinstance(pair.outcome, SpooledPicture) else pair.outcome
    try:
        return clean_text(pair.caption), pair.outcome
    except TextEncodingError:
        return None, Reason.CAPTION_ENCODING if isinstance(pair.outcome, SpooledPicture) else pair.outcome


def _as_text(name: str) -> str:
    """A name that can be stored as UTF-8: bytes of it that are not are spelled as in Python, `\\udcff` as `\\xff`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
