"""Gets the pictures of one part: from the web, from files and tars, or out of the table that refers to them.

A part is a range of the names that one part of the table is the first to refer to, so that pictures lie in the order in
which conversations need them. Those that the table holds are found by reading that part of the table again. Pictures of
equal bytes are stored once in a part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from stages.artifacts.phase_files import read_entry
from stages.artifacts.records import FileEntry
from stages.collecting.listing import TableReader
from stages.contract import PartTask, PinnedFile
from stages.download.address import is_web_address, parse_address
from stages.download.reasons import Reason, RowError
from stages.download.spool import SpooledPicture
from stages.formats.sample_table import read_table
from stages.importing.imported_pairs import ImportedPair
from stages.importing.intake import Intake, Outcome
from stages.importing.reasons import ImportReason
from stages.origins.files import open_file
from stages.origins.pieces import FilePiece
from stages.origins.web_address import WebAddress
from stages.store.store import Store
from stages.takedowns.tombstones import Tombstones

Owned: TypeAlias = Mapping[str, Any]
"""A row of `owned_NNNNN.parquet`."""


class CollectTask(PartTask):
    """The task of a part that gets pictures."""

    number: int
    """Number of the part among those of its phase."""
    pieces: list[FilePiece]
    """The part of the table that refers to them first."""
    owned: list[FileEntry]
    """Files that list its names."""
    first: int
    """First of its names that is meant, by their positions."""
    until: int
    """Name after the last."""


def owned_names(task: CollectTask, store: Store) -> list[Owned]:
    """The names of a part, by their positions in the table."""
    rows = [row for entry in task.owned for row in read_table(read_entry(store, entry)).to_pylist()]
    return sorted(rows, key=lambda row: int(row["position"]))[task.first : task.until]


@dataclass(frozen=True, slots=True)
class WebReferences:
    """The names of a part that are asked for on the web."""

    addresses: list[tuple[int, WebAddress]]
    """Number of the name among those of the part, and its checked address."""
    refused: dict[int, Outcome]
    """Number of a name to why its address is not asked for."""


def web_references(rows: Sequence[Owned], tombstones: Tombstones) -> WebReferences:
    """The names that are web addresses, those that may not be asked for told apart."""
    addresses, refused = [], dict[int, Outcome]()
    gone = tombstones.names([row["name"].encode("utf-8", "surrogateescape") for row in rows]) if tombstones else ()
    for number, row in enumerate(rows):
        if tombstones and gone[number]:
            refused[number] = Reason.TAKEN_DOWN
        elif is_web_address(row["name"]) and not row["held"]:
            try:
                addresses.append((number, parse_address(row["name"])))
            except RowError as error:
                refused[number] = error.reason
    return WebReferences(addresses, refused)


def take_files(rows: Sequence[Owned], place: str | None, intake: Intake) -> dict[int, Outcome]:
    """Take the pictures that lie in files and tars, each file opened once; and the reasons of those that do not."""
    outcomes: dict[int, Outcome] = {}
    by_file: dict[tuple[str, int, str], list[int]] = {}
    for number, row in enumerate(rows):
        if row["reason"] is not None:
            outcomes[number] = ImportReason.spelled(row["reason"])
        elif row["path"] is not None:
            by_file.setdefault((row["path"], row["file_bytes"], row["etag"]), []).append(number)
    for (path, file_bytes, etag), numbers in sorted(by_file.items()):
        assert place is not None
        with open_file(place, PinnedFile(path=path, size_bytes=file_bytes, sha256="", etag=etag)) as opened:
            for number in sorted(numbers, key=lambda one: rows[one]["offset"] or 0):
                offset, size_bytes = rows[number]["offset"] or 0, rows[number]["size_bytes"]

                def read(offset: int = offset, size_bytes: int = size_bytes) -> bytes:
                    opened.seek(offset)
                    return opened.read(size_bytes)

                outcomes[number] = intake.take_from(size_bytes, read)
    return outcomes


def take_held(
    rows: Sequence[Owned], reader: TableReader, pieces: Sequence[FilePiece], intake: Intake
) -> dict[int, Outcome]:
    """Take the pictures that the table holds, by reading its part again up to the last of them."""
    wanted = {row["name"]: number for number, row in enumerate(rows) if row["held"]}
    outcomes: dict[int, Outcome] = {}
    references = reader.references(pieces) if wanted else ()
    for reference in references:
        if reference is not None and reference.data is not None and reference.name in wanted:
            outcomes[wanted.pop(reference.name)] = intake.take(reference.data)
            if not wanted:
                break
    return outcomes


def collected_pairs(
    rows: Sequence[Owned], outcomes: Mapping[int, Outcome], table_source: str, image_source: str
) -> list[ImportedPair]:
    """A pair without caption for each name. Pictures of equal bytes have the place of the first in the spool."""
    first: dict[bytes, SpooledPicture] = {}
    pairs = []
    for number, row in enumerate(rows):
        outcome = outcomes.get(number, ImportReason.IMAGE_MISSING)
        if isinstance(outcome, SpooledPicture):
            outcome = first.setdefault(outcome.sha256, outcome)
        name = row["name"]
        url = f"{table_source if row['held'] else image_source}:{name}"
        pairs.append(
            ImportedPair(
                path="",
                key=name,
                reference=name,
                url=name if is_web_address(name) and not row["held"] else url,
                caption="",
                outcome=outcome,
            )
        )
    return pairs
