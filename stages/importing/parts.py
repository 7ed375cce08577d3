"""Cuts a source into parts by the names and sizes of its files, and by an index of those that need one.

A part is a tar, a stretch of a very large tar, a shard of img2dataset, some row groups of a Parquet file, or a range of
paths of a folder. Parts follow from the pinned files and the recipe alone. The process of the stage holds the entry of
each file that the pin has, and an entry for each part; of tars and Parquet that is one for 10,000 pairs, of a folder of
pictures one for each picture: about 1 KB for each of 10 million files, which is why such sets are better kept in tars.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

from pydantic import Field

from stages.contract import Part, PartFacts, PartTask, PinnedFile, StageError
from stages.importing.captions import TEXT_ENDINGS
from stages.importing.forms import STATS_ENDING, Form, is_hidden, is_metadata, is_picture, is_tar
from stages.importing.picture_folder import folder_of, plain_path, stem_of


class IndexTask(PartTask):
    """The task of a part of phase `index`: one file of which the layout must be known."""

    file: PinnedFile
    """A Parquet file, or a tar that is too large for one part."""


class FileIndex(PartFacts):
    """What phase `index` found in a file."""

    group_rows: list[int] = Field(default_factory=list)
    """Rows of each row group of a Parquet file."""
    starts: list[int] = Field(default_factory=list)
    """First bytes of the stretches of a large tar; the first is 0."""


class TarStretch(PartTask):
    """The task of a part that reads a tar, or a stretch of one."""

    file: PinnedFile
    start: int = 0
    """First byte of the stretch: that of a header."""
    stop: int | None = None
    """First byte of the next stretch; None reads to the end."""


class ShardFiles(PartTask):
    """The task of a part that reads a shard of img2dataset whose pictures are not in its table."""

    stem: str
    """Path of the shard without its ending, such as `00000`."""
    table: PinnedFile | None
    """The table of the shard's rows; None where it was not written."""
    tar: PinnedFile | None = None
    """The tar of the pictures; None where they are files."""
    pictures: list[PinnedFile] = Field(default_factory=list)
    """The pictures, where they are files."""
    stats: PinnedFile | None = None
    """The statistics, which count the rows that the shard was given."""


class RowGroups(PartTask):
    """The task of a part that reads some row groups of a Parquet file."""

    file: PinnedFile
    groups: list[int]
    """Numbers of the row groups."""
    first_row: int
    """Number of their first row in the file."""
    stats: PinnedFile | None = None
    """Statistics of img2dataset that count the rows of the file, for the part that reads its last row groups."""


class PathRange(PartTask):
    """The task of a part that reads a range of paths of a folder."""

    pictures: list[PinnedFile]
    texts: list[PinnedFile]
    tables: list[PinnedFile]
    after: str | None
    until: str | None


class ImportTask(PartTask):
    """The task of a part of phase `import`: its number, and what it reads, which is one of the four."""

    number: int
    tar: TarStretch | None = None
    shard: ShardFiles | None = None
    rows: RowGroups | None = None
    folder: PathRange | None = None


Reading: TypeAlias = TarStretch | ShardFiles | RowGroups | PathRange
_FIELDS = {TarStretch: "tar", ShardFiles: "shard", RowGroups: "rows", PathRange: "folder"}


def parts_to_index(form: Form, files: Sequence[PinnedFile], max_tar_bytes: int) -> list[Part]:
    """The parts of phase `index`: Parquet files with pictures, and plain tars of more than `max_tar_bytes`."""
    wanted: list[PinnedFile] = []
    if form == "parquet":
        wanted = _ending(files, ".parquet")
    elif form == "img2dataset":
        wanted = [shard.table for shard in _shards(files) if shard.table and not shard.tar and not shard.pictures]
    elif form == "webdataset":
        wanted = [file for file in _ending(files, ".tar") if file.size_bytes > max_tar_bytes]
    return [Part(name=f"file_{number:05d}", task=IndexTask(file=file).dump()) for number, file in enumerate(wanted)]


def import_parts(
    form: Form, files: Sequence[PinnedFile], indexes: Mapping[str, FileIndex], num_pairs_per_part: int
) -> list[Part]:
    """The parts of phase `import`; `indexes` maps the paths of phase `index` to what was found there.

    Raises `StageError` where the source has no file of this form.
    """
    readings: Iterable[Reading]
    if form == "webdataset":
        readings = (
            TarStretch(file=file, start=start, stop=stop)
            for file in files
            if is_tar(file.path) and not is_hidden(file.path)
            for start, stop in pairwise([*(indexes.get(file.path, FileIndex()).starts or [0]), None])
            if start is not None
        )
    elif form == "img2dataset":
        readings = _of_shards(files, indexes, num_pairs_per_part)
    elif form == "parquet":
        readings = (
            groups
            for file in _ending(files, ".parquet")
            for groups in _row_groups(file, indexes[file.path], num_pairs_per_part, None)
        )
    else:
        readings = _path_ranges([file for file in files if not is_hidden(file.path)], num_pairs_per_part)
    parts = [Part(name=f"{number:05d}", task=_task(number, reading).dump()) for number, reading in enumerate(readings)]
    if not parts:
        raise StageError(f"the source has {len(files):,} files, and none that form={form!r} is read from")
    return parts


def _task(number: int, reading: Reading) -> ImportTask:
    return ImportTask.model_validate({"number": number, _FIELDS[type(reading)]: reading})


def _ending(files: Sequence[PinnedFile], ending: str) -> list[PinnedFile]:
    return [file for file in files if file.path.lower().endswith(ending) and not is_hidden(file.path)]


def _shards(files: Sequence[PinnedFile]) -> list[ShardFiles]:
    """The shards of an img2dataset folder: tables, tars and folders of pictures with one stem belong together."""
    by_path = {file.path: file for file in files if not is_hidden(file.path)}
    tables = {path.removesuffix(".parquet") for path in by_path if path.endswith(".parquet")}
    tars = {path.removesuffix(".tar") for path in by_path if path.endswith(".tar")}
    pictures: dict[str, list[PinnedFile]] = defaultdict(list)
    for path, file in by_path.items():
        if is_picture(path):
            pictures[path.rpartition("/")[0]].append(file)
    stats = {path.removesuffix(STATS_ENDING) for path in by_path if path.endswith(STATS_ENDING)}
    return [
        ShardFiles(
            stem=stem,
            table=by_path.get(f"{stem}.parquet"),
            tar=by_path.get(f"{stem}.tar"),
            pictures=pictures.get(stem, []),
            stats=by_path.get(f"{stem}{STATS_ENDING}"),
        )
        for stem in sorted(tables | tars | (stats | pictures.keys()) - {""})
    ]


def _of_shards(
    files: Sequence[PinnedFile], indexes: Mapping[str, FileIndex], num_pairs_per_part: int
) -> Iterator[Reading]:
    for shard in _shards(files):
        if shard.table is not None and shard.table.path in indexes:
            yield from _row_groups(shard.table, indexes[shard.table.path], num_pairs_per_part, shard.stats)
        else:
            yield shard


def _row_groups(
    file: PinnedFile, index: FileIndex, num_pairs_per_part: int, stats: PinnedFile | None
) -> Iterator[RowGroups]:
    """Consecutive row groups until they have `num_pairs_per_part` rows: 400, 400, 400 at 700 are [0, 1] and [2]."""
    groups: list[int] = []
    first_row = num_rows = 0
    for number, rows in enumerate(index.group_rows):
        groups.append(number)
        num_rows += rows
        is_last = number == len(index.group_rows) - 1
        if is_last or num_rows >= num_pairs_per_part:
            yield RowGroups(file=file, groups=groups, first_row=first_row, stats=stats if is_last else None)
            groups, first_row, num_rows = [], first_row + num_rows, 0
    if not index.group_rows:
        yield RowGroups(file=file, groups=[], first_row=0, stats=stats)


def _path_ranges(files: Sequence[PinnedFile], num_pairs_per_part: int) -> Iterator[PathRange]:
    """Ranges of the sorted paths, each with `num_pairs_per_part` pictures, and what may belong to them."""
    pictures = sorted((file for file in files if is_picture(file.path)), key=_path)
    slices = [pictures[start : start + num_pairs_per_part] for start in range(0, len(pictures), num_pairs_per_part)]
    untils = [_path(one[-1]) for one in slices[:-1]]
    texts: dict[int, list[PinnedFile]] = defaultdict(list)
    stems = {stem_of(_path(file)): _path(file) for file in pictures}
    for file in files:
        if file.path.rpartition(".")[2].lower() in TEXT_ENDINGS and not is_metadata(file.path):
            stem = stem_of(_path(file))
            if stem in stems or not file.path.lower().endswith(".json"):
                texts[bisect_left(untils, stems.get(stem, stem))].append(file)
    tables = [file for file in files if is_metadata(file.path)]
    for number, (after, until) in enumerate(pairwise([None, *untils, None])):
        yield PathRange(
            pictures=slices[number] if slices else [],
            texts=texts[number],
            tables=[file for file in tables if _may_name(file, after, until)],
            after=after,
            until=until,
        )


def _path(file: PinnedFile) -> str:
    return plain_path(file.path)


def _may_name(table: PinnedFile, after: str | None, until: str | None) -> bool:
    """Whether the folder of a table has paths behind `after` and up to `until`."""
    folder = folder_of(table)
    if not folder:
        return True
    first, behind = f"{folder}/", f"{folder}0"  # "0" follows "/" in the order of letters
    return (until is None or until >= first) and (after is None or after < behind)
