"""Reads one part of a source into pairs, in whichever form it comes, and the index of a file that needs one."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, cast

import xxhash

from stages.contract import PinnedFile
from stages.importing.captions import PairRule
from stages.importing.img2dataset_shard import not_listed, shard_pairs
from stages.importing.imported_pairs import ImportedPair
from stages.importing.intake import Intake
from stages.importing.parquet_pairs import open_parquet, pair_columns, parquet_pairs, plain_schema, read_whole
from stages.importing.parts import FileIndex, ImportTask, PathRange, RowGroups, ShardFiles, TarStretch
from stages.importing.picture_folder import FolderSlice, folder_pairs
from stages.importing.tar_members import TarBrokenError, tar_members
from stages.importing.tar_pairs import carried_json, tar_pairs
from stages.importing.tar_samples import TarContents, TarSample, key_and_ending, read_samples
from stages.origins.files import open_file

if TYPE_CHECKING:
    import pyarrow as pa

Pairs: TypeAlias = "tuple[list[ImportedPair], pa.Table]"
"""Pairs, and the columns that are carried, row by row."""


@dataclass(frozen=True, kw_only=True)
class SourceReader:
    """Reads parts of a source that lies at `place`. Pickles; holds no list of files."""

    place: str
    rule: PairRule

    def read(self, task: ImportTask, intake: Intake) -> Pairs:
        """The pairs of one part. Raises `StageError` where a file is not what it should be."""
        if task.tar is not None:
            return self._tar(task.tar, intake)
        if task.shard is not None:
            return self._shard(task.shard, intake)
        if task.rows is not None:
            return self._rows(task.rows, intake)
        assert task.folder is not None
        return self._folder(task.folder, intake)

    def index(self, file: PinnedFile, max_tar_bytes: int) -> FileIndex:
        """The row groups of a Parquet file, whose columns are checked, or the stretches of a large tar."""
        with self.open(file) as opened:
            if not file.path.lower().endswith(".parquet"):
                return FileIndex(starts=stretches(opened, max_tar_bytes))
            table = open_parquet(opened, file.path)
            pair_columns(plain_schema(table.schema_arrow), self.rule, file.path)
            groups = range(table.metadata.num_row_groups)
            return FileIndex(group_rows=[table.metadata.row_group(number).num_rows for number in groups])

    def open(self, file: PinnedFile) -> BinaryIO:
        """Open a file of the source."""
        return open_file(self.place, file)

    def _tar(self, task: TarStretch, intake: Intake) -> Pairs:
        contents = self._contents(task.file, intake, task.start, task.stop)
        pairs = tar_pairs(contents, task.file.path, self.rule)
        return pairs, carried_json(contents.samples, len(pairs))

    def _contents(self, file: PinnedFile, intake: Intake, start: int = 0, stop: int | None = None) -> TarContents:
        with self.open(file) as opened, _plain(opened, file.path) as tar:
            return read_samples(tar, tar_members(tar, start, stop), intake, self.rule.columns.get("caption"))

    def _shard(self, task: ShardFiles, intake: Intake) -> Pairs:
        contents = self._contents(task.tar, intake) if task.tar is not None else self._files(task, intake)
        if task.table is None:
            pairs = tar_pairs(contents, f"{task.stem}.tar", self.rule)
            carried = carried_json(contents.samples, len(pairs))
        else:
            with self.open(task.table) as opened:
                table = read_whole(opened, task.table.path)
            pairs, carried = shard_pairs(table, contents, task.stem, self.rule, intake)
        return self._with_lost(pairs, carried, task.stats, len(pairs), task.stem)

    def _files(self, task: ShardFiles, intake: Intake) -> TarContents:
        """The pictures of a shard that are files, as the samples of a tar would be."""
        samples = []
        for file in task.pictures:
            named = key_and_ending(file.path)
            if named is not None:
                with self.open(file) as opened:
                    outcome = intake.take_from(file.size_bytes, opened.read)
                name = file.path.removeprefix(f"{task.stem}/")
                samples.append(TarSample(named[0], {named[1]: outcome}, {named[1]: name}))
        return TarContents(samples, None)

    def _rows(self, task: RowGroups, intake: Intake) -> Pairs:
        with self.open(task.file) as opened:
            pairs, carried = parquet_pairs(
                opened, task.file.path, task.groups, first_row=task.first_row, rule=self.rule, intake=intake
            )
        num_rows = task.first_row + len(pairs)
        return self._with_lost(pairs, carried, task.stats, num_rows, task.file.path.removesuffix(".parquet"))

    def _with_lost(
        self, pairs: list[ImportedPair], carried: pa.Table, stats: PinnedFile | None, num_rows: int, stem: str
    ) -> Pairs:
        """The pairs, and a failed one for each row that the statistics count beyond `num_rows`."""
        import pyarrow as pa

        if stats is None:
            return pairs, carried
        with self.open(stats) as opened:
            lost = not_listed(opened.read(), num_rows, stem)
        rows = pa.array([*range(len(pairs)), *([None] * len(lost))], pa.int64())
        return pairs + lost, carried.take(rows) if lost else carried

    def _folder(self, task: PathRange, intake: Intake) -> Pairs:
        import pyarrow as pa

        part = FolderSlice(
            pictures=task.pictures, texts=task.texts, tables=task.tables, after=task.after, until=task.until
        )
        pairs, further = folder_pairs(part, self.open, self.rule, intake)
        return pairs, pa.table({"source_json": pa.array(further, pa.string())})


def stretches(tar: BinaryIO, max_tar_bytes: int) -> list[int]:
    """Where the stretches of a large tar begin: at the first member of a sample, each `max_tar_bytes` or a little more.

    A tar in which the members of some sample lie apart is not cut, so that they are read together. Holds a digest of
    each key of the tar.
    """
    starts, seen, newest = [0], set[int](), ""
    try:
        for member in tar_members(tar):
            named = key_and_ending(member.name)
            if named is None or named[0] == newest:
                continue
            newest = named[0]
            digest = xxhash.xxh3_64_intdigest(newest.encode("utf-8", "surrogateescape"))
            if digest in seen:
                return [0]
            seen.add(digest)
            if member.header_offset - starts[-1] >= max_tar_bytes:
                starts.append(member.header_offset)
    except TarBrokenError:
        return starts  # the part that reads the last stretch comes to the break, and names it
    return starts


@contextmanager
def _plain(opened: BinaryIO, path: str) -> Iterator[BinaryIO]:
    """The tar inside a file: the file itself, or what gzip packed."""
    if path.lower().endswith((".gz", ".tgz")):
        with gzip.open(opened) as plain:
            yield cast("BinaryIO", plain)
    else:
        yield opened
