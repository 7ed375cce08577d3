"""What is looked for where samples begin: by name, sample id, picture, domain or sentence.

Owns how it is found in an artifact: by its index, which names the parts that may hold it, and where there is none by
reading the tables of all parts. Either way the rows are compared with what was asked for, so both find the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipelines.exits import BadCommandError
from pipelines.indexes.domains import domain_of, is_above_domains
from pipelines.indexes.look_up import Index, open_index
from pipelines.indexes.pieces import DamagedIndexError
from pipelines.indexes.subjects import (
    DOMAINS,
    GIVING,
    IDS,
    LOOKS,
    NAMES,
    PICTURES,
    SUBJECTS,
    TABLES,
    TEXTS,
    bytes_digest,
    indexed_of,
    looks_digest,
    name_digest,
    plain_texts,
)
from pipelines.indexes.tables import PartTable
from pipelines.indexes.texts import RUN_WORDS, Words, words_in, words_of_column
from pipelines.lineage.sightings import Sighting, SourceSighting, TableRow
from pipelines.lineage.table_rows import IsWanted, given_rows_of, one_of, part_tables, rows_of, tables_of
from stages.artifacts import kinds
from stages.artifacts.artifact import Artifact
from stages.artifacts.head import ManifestHead
from stages.duplicates.measures.hash_bits import num_bits
from stages.formats.kept_rows import NAME_COLUMNS
from stages.takedowns.hosts import host_of, is_within, plain_host

if TYPE_CHECKING:
    import pyarrow as pa

HOST_NAME = re.compile(r"[^\s/?#@:\[\]]+|\[[0-9A-Fa-f:.]+\]")
NAMED = (kinds.RawPairs.kind, kinds.RawClips.kind)
"""The kinds whose samples have names: the URL of a picture or video, and its reference, where the table has one."""


MAX_ROWS = 100_000
"""Rows that are looked for and found together, at most: some KB of memory each."""


@dataclass
class Search:
    """How a search went: which artifacts had no index, so that all of their tables were read."""

    tell: Callable[[ManifestHead], None] = lambda _: None
    """Is told of each artifact without an index before its tables are read."""
    warn: Callable[[str], None] = lambda _: None
    """Is told of each index that is damaged, before the tables are read in its place."""
    unindexed: list[ManifestHead] = field(default_factory=list)
    """Artifacts of which all tables were read."""
    num_unread: int = 0
    """Tables that may hold more of what was asked for, and were not read because there are too many."""
    num_rows: int = 0
    """Rows that were found."""

    def read_all(self, head: ManifestHead) -> None:
        """All tables of this artifact are going to be read."""
        self.tell(head)
        self.unindexed.append(head)

    def named(self, artifact: Artifact, subject: str, find: Callable[[Index], Iterable[int]]) -> list[PartTable] | None:
        """The tables of the parts that `find` finds in an index; None where all of them must be read.

        That is where there is no index, or one that is damaged.
        """
        index = open_index(artifact.store, artifact.head, subject)
        if index is not None:
            try:
                return [index.parts[part] for part in find(index)]
            except DamagedIndexError as error:
                self.warn(f"{error}. Until then all tables are read")
        self.read_all(artifact.head)
        return None

    def found(self, row: TableRow) -> TableRow:
        """Count a row. Raises `BadCommandError` where there are too many to follow."""
        self.num_rows += 1
        if self.num_rows > MAX_ROWS:
            raise BadCommandError(
                f"more than {MAX_ROWS:,} samples are what was asked for; ask for fewer of them", then="neo where --help"
            )
        return row


@dataclass(frozen=True)
class Sought:
    """Something that samples are looked up by, and how one recognises them."""

    subject: str
    """Name of the index, such as `names`."""
    digests: tuple[int, ...]
    """Digests by which the index has them."""
    is_wanted: IsWanted
    """Says of each row, by the columns of the subject, whether it is wanted."""
    kinds: tuple[str, ...] = tuple(TABLES)
    """Kinds of artifacts that are searched."""
    has_all: bool = False
    """Whether a part must hold all digests, not just one of them."""
    is_indexed: bool = True
    """Whether an index has them; else all tables are read."""

    def rows(self, artifact: Artifact, search: Search) -> tuple[TableRow, ...]:
        """The rows of an artifact that are looked for, each with its `part`."""
        tables = self.tables(artifact, search)
        read = given_rows_of if artifact.head.kind in GIVING else rows_of
        return tuple(map(search.found, read(artifact, tables, SUBJECTS[self.subject].columns, self.is_wanted)))

    def tables(self, artifact: Artifact, search: Search) -> Iterable[PartTable]:
        """The tables that may hold them: all, where there is no index; none of an artifact that has no such column."""
        indexed = indexed_of(artifact.head, texts=self.subject == TEXTS)
        if indexed is None or self.subject not in indexed.subjects:
            return ()
        if not self.is_indexed:
            search.read_all(artifact.head)
            return part_tables(artifact, indexed.file_name)
        named = search.named(artifact, self.subject, self._parts)
        return part_tables(artifact, indexed.file_name) if named is None else named

    def _parts(self, index: Index) -> Iterable[int]:
        import numpy as np

        if self.has_all:
            return index.find_all(self.digests)
        _, parts = index.find_many(np.array(self.digests, np.uint64))
        numbers: list[int] = np.unique(parts).tolist()
        return numbers


def names(values: Sequence[str]) -> Sought:
    """Pictures and videos by their URL, or by the name that their source has for them."""
    return Sought(NAMES, tuple(map(name_digest, values)), one_of(sorted(values)), NAMED)


def sample_ids(values: Iterable[bytes]) -> Sought:
    """Samples by their ids."""
    ids = sorted(values)
    return Sought(IDS, tuple(map(bytes_digest, ids)), one_of(ids))


def pictures(values: Iterable[bytes]) -> Sought:
    """Pictures by the sha256 of their bytes."""
    digests = sorted(values)
    return Sought(PICTURES, tuple(map(bytes_digest, digests)), one_of(digests))


def is_host(name: str) -> bool:
    """Whether a text is a host as people write one: without scheme, path, port or user."""
    return HOST_NAME.fullmatch(name) is not None and bool(name.strip("."))


def domain(name: str) -> Sought:
    """Pictures and videos whose URL is on this host, or on one below it.

    An index has domains that somebody registered: above these, as `co.uk` is, all tables are read.
    """
    host = plain_host(name)
    is_wanted = _on_host(lambda one: is_within(one, host))
    return Sought(DOMAINS, (name_digest(domain_of(host)),), is_wanted, NAMED, is_indexed=not is_above_domains(host))


def sentence(text: str) -> Sought:
    """Samples whose caption, text or messages hold the words of `text`, one after the other.

    Raises `ValueError` for fewer words than an index has in a run.
    """
    words = words_in(text)
    runs = words.runs()
    if not len(runs):
        raise ValueError(f"{text!r} has fewer than {RUN_WORDS} words")
    return Sought(TEXTS, tuple(runs.tolist()), _holding(words), (*TABLES, *GIVING), has_all=True)


def _holding(sentence: Words) -> IsWanted:
    def wanted(table: pa.Table) -> pa.BooleanArray:
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc
        from pyarrow import types

        is_wanted = np.zeros(table.num_rows, bool)
        for column in table.columns:
            texts, rows = plain_texts(column), np.arange(table.num_rows)
            if types.is_list(column.type):  # of messages: the row of each
                rows = np.repeat(rows, pc.fill_null(pc.list_value_length(column), 0).to_numpy())
            for first, words in words_of_column(texts):
                is_wanted[rows[first + words.rows_with(sentence)]] = True
        return pa.array(is_wanted)

    return wanted


@dataclass(frozen=True)
class Alike:
    """A pair whose picture looks like one that was asked for."""

    sample_id: bytes
    """The pair."""
    num_bits: int
    """Bits of 64 in which the perceptual hashes of the two differ."""


def alike(artifact: Artifact, perceptual_hash: int, max_bits: int, search: Search) -> list[Alike]:
    """The pairs of an artifact with hashes of pictures (`indexed_of`) that differ in no more bits, nearest first."""
    import numpy as np

    indexed = indexed_of(artifact.head)
    if indexed is None or LOOKS not in indexed.subjects:
        return []
    digest = looks_digest(perceptual_hash)
    tables = search.named(artifact, LOOKS, lambda index: index.find_near(digest, max_bits))
    if tables is None:
        tables = part_tables(artifact, indexed.file_name, indexed.phase, indexed.prefix)
    found: list[Alike] = []
    for table in tables_of(artifact.store, tables, ["sample_id", "hash"]):
        hashed = table.filter(table["hash"].is_valid())
        bits = num_bits(hashed["hash"].to_numpy() ^ np.uint64(perceptual_hash))
        near = np.flatnonzero(bits <= max_bits)
        ids = hashed["sample_id"].take(near).to_pylist()
        found += [Alike(sample_id, int(number)) for sample_id, number in zip(ids, bits[near].tolist(), strict=True)]
    return sorted(found, key=lambda one: (one.num_bits, one.sample_id))


def found_by(sightings: Iterable[Sighting]) -> dict[str, list[str]]:
    """Each name, sample id and sha256 of a picture that was found, in hex digits, to the ids of its samples."""
    found: dict[str, list[str]] = {}
    for sighting in sightings:
        for row in sighting.rows if isinstance(sighting, SourceSighting) else ():
            values = (row.get(name) for name in ("sample_id", "sha256", *NAME_COLUMNS))
            spelled = (value.hex() if isinstance(value, bytes) else value for value in values)
            for value in filter(None, spelled):
                ids = found.setdefault(value, [])
                if row["sample_id"].hex() not in ids:
                    ids.append(row["sample_id"].hex())
    return found


def _on_host(is_wanted: Callable[[str], bool]) -> IsWanted:
    def wanted(table: pa.Table) -> pa.BooleanArray:
        import pyarrow as pa

        urls: Iterator[bytes | None] = iter(table.column(0).cast(pa.large_binary()).to_pylist())
        return pa.array([url is not None and is_wanted(host_of(url.decode("utf-8", "replace"))) for url in urls])

    return wanted
