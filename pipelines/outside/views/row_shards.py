"""Shards of packed rows: the tars as they were committed, a row a sample.

Rows have differing numbers of pictures, so `datasets` is told the columns of the row with the most.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pipelines.outside.views.shards import ShardSource, ViewShard
from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import ROW_INDEX_FILE, ROWS_FILE, ROWS_PHASE, Rows
from stages.formats.packed_rows.row_format import FACTS, SUPERVISED, TOKENS
from stages.formats.sample_table import read_table


class RowShards(ShardSource):
    """The rows of one artifact."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    @property
    def holder(self) -> Artifact:
        """The artifact whose files are the tars that are linked."""
        return self.rows

    @property
    def features(self) -> list[dict[str, Any]]:
        """The columns that `datasets` makes of a row: `00000.jpg` to the last picture of the row with the most.

        Pictures of rows are JPEG files, as all stages store them.
        """
        most = max((self._most_pictures(part) for part in self._parts), default=0)
        pictures = [{"name": f"{number:05d}.jpg", "dtype": "image"} for number in range(most)]
        return [
            *pictures,
            {"name": FACTS, "dtype": "json"},
            {"name": SUPERVISED, "list": "bool"},
            {"name": TOKENS, "list": "int32"},
            {"name": "__key__", "dtype": "string"},
        ]

    def shards(self) -> Iterator[ViewShard]:
        """A shard for each part."""
        for part in self._parts:
            record = self.rows.part(part, ROWS_PHASE)
            if record.facts["num_rows"]:
                yield ViewShard(part, record.facts["num_rows"], record.file(ROWS_FILE))

    def starts(self, shard: ViewShard) -> Sequence[int] | None:
        """The first byte of each row, by the index."""
        return list(self._index(shard.part, "offset"))

    @property
    def _parts(self) -> list[str]:
        return [record.part for record in self.rows.phase(ROWS_PHASE)]

    def _most_pictures(self, part: str) -> int:
        return max(self._index(part, "num_images"), default=0)

    def _index(self, part: str, column: str) -> list[int]:
        """A column of the index of a part."""
        data = self.rows.read(self.rows.part(part, ROWS_PHASE).file(ROW_INDEX_FILE))
        values: list[int] = read_table(data, [column])[column].to_pylist()
        return values
