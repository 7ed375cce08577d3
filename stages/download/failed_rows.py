"""Rows of committed pairs that failed to be fetched and are fetched again: which reasons, which rows, in which parts.

Owns the reasons that may be named, the parts that failed rows are gathered into, and how such a part is read. The parts
follow from the counts in the records of the download; no table is read before its rows are fetched. A failed row keeps
its sample id, its number in the whole URL table and the columns that it carries. Of collected and imported pictures,
whose parts are numbered by `ROWS_OF_A_PART`, it keeps the name that conversations refer to it by, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from stages.artifacts.manifest import owner_of
from stages.artifacts.phase_files import read_entry
from stages.artifacts.records import FileEntry, PartRecord
from stages.artifacts.taken_over import num_table_rows
from stages.contract import Part, PartTask, Store
from stages.download.address import is_web_address, parse_address
from stages.download.extended import RETRIED_PART, next_number
from stages.download.fetch_rows import RowsToFetch
from stages.download.raw_pairs import RESERVED_COLUMNS, ROWS_OF_A_PART
from stages.download.reasons import Reason, RowError
from stages.download.url_rows import EXPECTED_HASH, UrlRow, with_expected
from stages.formats.sample_table import Verdict, read_table, text_column

if TYPE_CHECKING:
    import pyarrow as pa

TRANSIENT: Final = "transient"
"""Names all reasons that another try may mend."""
MAX_PIECES: Final = 256
"""Parts of a download that one part takes failed rows of, at most: the table of each is read."""
COLLECTED: Final = "collect_images"
"""Stage whose pairs are pictures of conversations, some of them from the web."""
IMPORTED: Final = "import_pairs"
"""Stage whose pairs other tools collected, and whose failed rows have a URL where those say it, as img2dataset does."""
REFERENCE: Final = "reference"
"""Column with the names that conversations refer to pictures by."""
_NOT_READ: Final = frozenset(("robots_txt", "usage_headers", "sha256", "image_offset", "position"))
"""Columns that neither a request nor a profile needs; tables of earlier releases lack some of them."""
_NEVER_ASKED: Final = (Reason.MALFORMED_ROW, Reason.SCHEMA, Reason.HASH_UNREADABLE)


def reasons_to_retry() -> tuple[str, ...]:
    """The reasons that may be named: of rows that were asked for and failed."""
    return tuple(one.value for one in Reason if one.verdict is Verdict.FAILED and one not in _NEVER_ASKED)


def spelled_reasons(texts: Iterable[str]) -> tuple[str, ...]:
    """The reasons that people name, sorted; `transient` is all that another try may mend.

    Raises `ValueError` that names a wrong one, the nearest right one, and all there are.
    """
    known, found = reasons_to_retry(), set[str]()
    for text in texts:
        name = text.strip()
        if name != TRANSIENT and name not in known:
            near = get_close_matches(name, (TRANSIENT, *known), n=1)
            nearest = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(
                f"{name!r} is no reason that rows are fetched again for{nearest}; there are {TRANSIENT} "
                f"({', '.join(one.value for one in Reason if one.retriable)}) and {', '.join(known)}"
            )
        found |= {one.value for one in Reason if one.retriable} if name == TRANSIENT else {name}
    if not found:
        raise ValueError(f"no reason was named; {TRANSIENT} is all that another try may mend")
    return tuple(sorted(found))


class FailedPiece(PartTask):
    """Failed rows of one part of the download."""

    part: str
    """Name of the part."""
    first_row: int
    """Number of its first row in the whole URL table."""
    reasons: list[str]
    """The reasons of its rows that are fetched again."""
    is_collected: bool = False
    """Whether its rows were collected or imported: those whose pictures lie in files are no matter of the web."""


class FailedRows(PartTask):
    """The task of a part that fetches rows again: failed rows of parts that follow each other."""

    pieces: list[FailedPiece]
    """What it takes of each of them."""


def parts_to_retry(records: Sequence[PartRecord], reasons: Collection[str], num_rows_per_part: int) -> list[Part]:
    """The parts in which the failed rows of a download are fetched again.

    `records` are those of all parts of the download, in order. Rows of parts that follow each other are fetched in one
    part, as far as it has no more than `num_rows_per_part`, of `MAX_PIECES` parts; those of one part are never divided.
    """
    number = next_number(RETRIED_PART, records)
    groups: list[list[FailedPiece]] = []
    num_in_group: list[int] = []
    first_row = 0
    has_collected = any(map(_is_collected, records))
    for record in records:
        wanted = sorted(reason for reason in record.items.failed if reason in reasons)
        num_rows = sum(record.items.failed[reason] for reason in wanted)
        if num_rows:
            collected = _is_collected(record)
            first = int(record.part) * ROWS_OF_A_PART if collected else first_row
            collected = collected or (has_collected and RETRIED_PART.fullmatch(record.part) is not None)
            piece = FailedPiece(part=record.part, first_row=first, reasons=wanted, is_collected=collected)
            is_full = not groups or len(groups[-1]) == MAX_PIECES or num_in_group[-1] + num_rows > num_rows_per_part
            if is_full:
                groups.append([])
                num_in_group.append(0)
            groups[-1].append(piece)
            num_in_group[-1] += num_rows
        if not RETRIED_PART.fullmatch(record.part):
            first_row += num_table_rows(record)
    return [
        Part(name=f"retry{number}_{place:05d}", task=FailedRows(pieces=pieces).dump(), num_items=num_rows)
        for place, (pieces, num_rows) in enumerate(zip(groups, num_in_group, strict=True))
    ]


def read_failed_rows(
    part: Part, tables: Mapping[str, FileEntry], store: Store, *, verifies: bool = False
) -> tuple[list[pa.Table], RowsToFetch]:
    """The rows that a part fetches again: as they failed, and as they are asked for, in the order of the URL table.

    `tables` has the sample table of each part of the download that lost rows. Of those of this part one after the other
    is in memory, and their failed rows stay. `verifies` says whether their column `expected_hash` holds what is asked.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    read: list[pa.Table] = []
    numbers: list[int] = []
    of_files: list[bool] = []
    for piece in FailedRows.of(part).pieces:
        data = read_entry(store, tables[piece.part])
        names = [name for name in pq.read_schema(pa.BufferReader(data)).names if name not in _NOT_READ]
        table = read_table(data, names)
        places = [place for place, reason in enumerate(table["reason"].to_pylist()) if reason in piece.reasons]
        rows = table.take(pa.array(places, pa.int64()))
        # The rows of a part that was retried before do not follow each other; there every row has its number as key.
        keys = rows["key"].to_pylist()
        numbers += [
            piece.first_row + place if key is None else int(key) for place, key in zip(places, keys, strict=True)
        ]
        of_files += _lie_in_files(rows) if piece.is_collected else [False] * len(rows)
        read.append(rows)
    in_order = sorted(range(len(numbers)), key=numbers.__getitem__)
    samples = pa.concat_tables(read, promote_options="default").take(pa.array(in_order, pa.int64()))
    rows = samples.select(["sample_id", "url", "caption", "reason"]).to_pylist()
    reserved = RESERVED_COLUMNS - {REFERENCE}
    carried = samples.select([name for name in samples.column_names if name not in reserved])
    asked = [_asked_again(**row, is_of_file=of_files[place]) for row, place in zip(rows, in_order, strict=True)]
    if verifies:
        hashes = text_column(samples, EXPECTED_HASH, "sample table")
        asked = [with_expected(row, text) for row, text in zip(asked, hashes, strict=True)]
    return read, RowsToFetch(asked, carried, sorted(numbers))


def _is_collected(record: PartRecord) -> bool:
    """Whether `collect_images` or `import_pairs` made a part, taken over since or not. One of a retry they did not."""
    makers = (f"{COLLECTED}/", f"{IMPORTED}/")
    return bool(record.files) and owner_of(record.files[0].key).startswith(makers)


def _lie_in_files(rows: pa.Table) -> list[bool]:
    """Which rows are pictures in files, or have no caption that could be read. Those of a download, which a retry put
    among them, have no name that conversations refer to."""
    names = rows[REFERENCE].to_pylist() if REFERENCE in rows.column_names else [None] * len(rows)
    of_urls = zip(names, rows["url"].to_pylist(), rows["caption"].to_pylist(), strict=True)
    return [name is not None and (caption is None or not is_web_address(url)) for name, url, caption in of_urls]


def _asked_again(sample_id: bytes, url: str, caption: str | None, reason: str, *, is_of_file: bool) -> UrlRow:
    """A failed row as it is asked for. One of which nothing on the web is wanted keeps its reason."""
    if is_of_file:
        return UrlRow(sample_id, url, caption, None, Reason.spelled(reason))
    try:
        return UrlRow(sample_id, url, caption, parse_address(url), None)
    except RowError as error:
        return UrlRow(sample_id, url, caption, None, error.reason)
