"""How a source holds its videos, guessed from the names of its files; endings of videos and of texts beside them.

Nothing is opened, but the columns of a Parquet file. A form can be named by the recipe, where a guess would be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from stages.contract import PinnedFile, PinnedSource, StageError
from stages.importing.captions import PLAIN_TEXT_ENDINGS
from stages.importing.forms import is_hidden, is_tar
from stages.origins.files import open_file
from stages.origins.tables.formats import known_format

VideoForm: TypeAlias = Literal["table", "parquet", "webdataset", "folder"]
"""How a source holds its videos: a table that names them, Parquet with their bytes, tars, or files in folders."""

VIDEO_ENDINGS: Final = frozenset(
    {"mp4", "m4v", "mov", "mkv", "webm", "avi", "mpg", "mpeg", "ts", "m2ts", "mts", "flv", "wmv", "3gp", "ogv"}
)
"""Endings of files that are taken for videos; what they are is read from their bytes."""
TEXT_ENDINGS: Final = (*PLAIN_TEXT_ENDINGS, "json", "srt", "vtt")
"""Endings of texts beside a video."""
TABLE_KINDS: Final = frozenset({"parquet", "csv", "tsv", "jsonl"})
"""Kinds of tables that are no texts beside a video."""


def ending_of(path: str) -> str:
    """The part of a path behind its last dot, in lower case; "" where there is none."""
    name = path.rpartition("/")[2]
    return name.rpartition(".")[2].lower() if "." in name else ""


def stem_of(path: str) -> str:
    """A path without its ending."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{name.rpartition('.')[0] or name}"


def text_stems(path: str) -> list[str]:
    """The stems of the videos that a text may lie beside: `a/x.en.srt` beside `a/x.en.mp4`, or else `a/x.mp4`."""
    stem = stem_of(path)
    shorter = stem_of(stem)
    return [stem] if shorter == stem else [stem, shorter]


def is_video(path: str) -> bool:
    """Whether a path ends like a video's."""
    return ending_of(path) in VIDEO_ENDINGS


def is_video_text(path: str) -> bool:
    """Whether a path ends like a text beside a video."""
    return ending_of(path) in TEXT_ENDINGS


def seen_files(files: Sequence[PinnedFile]) -> list[PinnedFile]:
    """The files without hidden ones."""
    return [file for file in files if not is_hidden(file.path)]


def table_part(pinned: PinnedSource) -> PinnedSource:
    """The source without its videos, and without texts beside them: what is left is read as tables.

    Beside videos, a README is no table of them where there is a CSV or a Parquet file.
    """
    files = seen_files(pinned.files)
    stems = {stem_of(file.path) for file in files if is_video(file.path)}
    kept = [
        file
        for file in files
        if not is_video(file.path)
        and not is_tar(file.path)
        and not (is_video_text(file.path) and not stems.isdisjoint(text_stems(file.path)))
    ]
    tables = [file for file in kept if (found := known_format(file.path)) and found.kind in TABLE_KINDS]
    return pinned.model_copy(update={"files": tuple(tables if tables and stems else kept)})


def guess_video_form(pinned: PinnedSource) -> VideoForm:
    """The form of a source. Raises `StageError` where it could be none or several.

    Videos beside a table (`clips.csv`, `metadata.jsonl`) are what the table names.
    """
    files = seen_files(pinned.files)
    num_videos, num_tars = (sum(map(test, (file.path for file in files))) for test in (is_video, is_tar))
    tables = [file for file in files if (found := known_format(file.path)) and found.kind in TABLE_KINDS]
    if num_tars and (num_videos or tables):
        raise StageError(
            f"source {pinned.name!r} holds {num_tars:,} tars, {num_videos:,} videos and {len(tables):,} tables: say "
            "which are meant with form='webdataset', 'folder' or 'table', or name fewer files in sources.toml"
        )
    if num_tars:
        return "webdataset"
    if num_videos:
        return "table" if tables else "folder"
    parquet = [file for file in tables if file.path.lower().endswith(".parquet")]
    if parquet and _holds_videos(pinned.place, parquet[0]):
        return "parquet"
    if tables or any(known_format(file.path) for file in files):
        return "table"
    raise StageError(
        f"none of the {len(files):,} files of source {pinned.name!r} is a video, a tar or a table; videos are read "
        "from folders, WebDataset tars, Parquet with their bytes, and tables of URLs or paths"
    )


def _holds_videos(place: str, file: PinnedFile) -> bool:
    from stages.cutting.parquet_videos import video_columns
    from stages.importing.parquet_pairs import open_parquet

    with open_file(place, file) as opened:
        return bool(video_columns(open_parquet(opened, file.path).schema_arrow))
