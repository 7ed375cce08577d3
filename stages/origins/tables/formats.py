"""The formats in which tables come, told by the ends of file names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from stages.contract import StageError

Kind: TypeAlias = Literal["parquet", "csv", "tsv", "jsonl", "json", "txt"]
"""How the rows of a file are written."""
Compression: TypeAlias = Literal["", "gzip", "bz2", "zstd", "xz", "lz4"]
"""How a file is compressed as a whole; "" where it is not."""

KINDS: Final[dict[str, Kind]] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".jsonlines": "jsonl",
    ".json": "json",
    ".txt": "txt",
}
"""File name endings to kinds; letter case does not matter."""
COMPRESSIONS: Final[dict[str, Compression]] = {
    ".gz": "gzip",
    ".gzip": "gzip",
    ".bz2": "bz2",
    ".zst": "zstd",
    ".zstd": "zstd",
    ".xz": "xz",
    ".lz4": "lz4",
}
"""Endings behind those of `KINDS` to compressions."""


@dataclass(frozen=True)
class TableFormat:
    """How a file holds a table."""

    kind: Kind
    """How its rows are written."""
    compression: Compression = ""
    """How the file is compressed as a whole."""


@dataclass(frozen=True)
class TableOptions:
    """What a file does not say about itself. Fields of recipes, so part of identity."""

    header: tuple[str, ...] = ()
    """Column names of CSV and TSV files that have no header line; () where the first line is the header."""
    quotes: bool = True
    """Whether a field of CSV and TSV that begins with `"` ends at the next `"`."""
    txt_rows: Literal["line", "file"] = "line"
    """Whether each line of a text file is a row, or the whole file."""


def format_of(path: str) -> TableFormat:
    """The format of a file by its name, such as `urls.csv.gz`. Raises `StageError` that lists what is read."""
    found = known_format(path)
    if found is None:
        raise StageError(
            f"{path} is no table by its name; files that are read end in {', '.join(KINDS)}, and may be compressed "
            f"({', '.join(COMPRESSIONS)}), as in urls.csv.gz. Rename it, or leave it out of the source"
        )
    return found


def known_format(path: str) -> TableFormat | None:
    """The format of a file by its name, or None where no table has such a name."""
    name = path.rsplit("/", 1)[-1].lower()
    for ending, compression in COMPRESSIONS.items():
        if name.endswith(ending):
            kind = _kind_of(name.removesuffix(ending))
            return None if kind is None else TableFormat(kind, compression)
    kind = _kind_of(name)
    return None if kind is None else TableFormat(kind)


def _kind_of(name: str) -> Kind | None:
    return next((kind for ending, kind in KINDS.items() if name.endswith(ending)), None)
