"""The recipe fields of every stage that reads a table: which source, which columns, and what its files do not say."""

from __future__ import annotations

from pydantic import Field

from stages.contract import Recipe, Source
from stages.origins.tables.formats import TableOptions


class TableRecipe(Recipe):
    """Which table is read, and how its columns are called there."""

    source: Source
    """The table: one or many files of Parquet, CSV, TSV, JSONL, JSON or text, compressed or not."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our name of a column to its name in the table, such as {"url": "URL"}. Those that are left out are guessed from
    well-known spellings; "" says that the table has no such column, and that it is empty in every row. Renames other
    columns too."""
    header: tuple[str, ...] = ()
    """Column names of CSV and TSV files that have no header line; () where the first line is the header."""
    quotes: bool = True
    """Whether a field of CSV and TSV files that begins with `"` ends at the next one; false where quotes are ordinary
    characters."""

    @property
    def table_options(self) -> TableOptions:
        """The fields that say how files are read."""
        return TableOptions(header=self.header, quotes=self.quotes)
