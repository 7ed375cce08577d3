"""The parts of a source of videos that is no table, and the videos of each part.

A part is a range of paths of a folder, a tar or a stretch of a very large one, or some row groups of a Parquet file.
Parts follow from the pinned files and the recipe alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from stages.contract import Part, PartTask, PinnedFile, StageError
from stages.cutting.film_names import seen_files
from stages.cutting.folder_videos import FolderTask
from stages.cutting.video_index import plain_tars
from stages.importing.parts import FileIndex, RowGroups, TarStretch


class CutTask(PartTask):
    """The task of a part of phase `cut`: what it reads, which is one of the three."""

    folder: FolderTask | None = None
    tar: TarStretch | None = None
    rows: RowGroups | None = None


def files_to_index(form: str, files: Sequence[PinnedFile], max_tar_bytes: int) -> list[PinnedFile]:
    """The files of which the layout must be known first: Parquet with videos, and very large tars."""
    if form == "parquet":
        return _parquet(files)
    return [file for file in plain_tars(seen_files(files)) if file.size_bytes > max_tar_bytes]


def tar_parts(files: Sequence[PinnedFile], indexes: Mapping[str, FileIndex]) -> list[Part]:
    """A part for each tar, or for each stretch of a large one. Raises `StageError` where there is none."""
    return _listed(
        "tar",
        (
            TarStretch(file=file, start=start, stop=stop)
            for file in plain_tars(seen_files(files))
            for start, stop in pairwise([*(indexes.get(file.path, FileIndex()).starts or [0]), None])
            if start is not None
        ),
    )


def parquet_parts(
    files: Sequence[PinnedFile], indexes: Mapping[str, FileIndex], num_videos_per_part: int
) -> list[Part]:
    """Parts of consecutive row groups with `num_videos_per_part` rows or more: 40, 40, 40 at 70 are [0, 1] and [2]."""
    return _listed(
        "rows",
        (
            groups
            for file in _parquet(files)
            for groups in _row_groups(file, indexes[file.path].group_rows, num_videos_per_part)
        ),
    )


def _row_groups(file: PinnedFile, group_rows: Sequence[int], num_rows_per_part: int) -> Iterable[RowGroups]:
    groups: list[int] = []
    first_row = num_rows = 0
    for number, rows in enumerate(group_rows):
        groups.append(number)
        num_rows += rows
        if num_rows >= num_rows_per_part or number == len(group_rows) - 1:
            yield RowGroups(file=file, groups=groups, first_row=first_row)
            groups, first_row, num_rows = [], first_row + num_rows, 0


def _parquet(files: Sequence[PinnedFile]) -> list[PinnedFile]:
    return [file for file in seen_files(files) if file.path.lower().endswith(".parquet")]


def _listed(name: str, readings: Iterable[PartTask]) -> list[Part]:
    parts = [Part(name=f"{number:05d}", task={name: reading.dump()}) for number, reading in enumerate(readings)]
    if not parts:
        raise StageError("the source has no file that this form is read from")
    return parts
