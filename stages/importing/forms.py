"""Guesses in which form a source holds its pairs, from the names of its files, and lists what is read together.

Nothing is opened. A form can be named by the recipe, where a guess would be wrong or several would do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias

from stages.contract import StageError
from stages.importing.captions import PICTURE_ENDINGS

Form: TypeAlias = Literal["img2dataset", "webdataset", "parquet", "folder"]
"""How a source holds its pairs."""

TAR_ENDINGS: Final = (".tar", ".tar.gz", ".tgz")
METADATA_NAMES: Final = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
"""Files of an image folder that name its pictures in a column `file_name`."""
ARCHIVE_ENDINGS: Final = (".zip", ".rar", ".7z", ".tar.bz2", ".tar.xz", ".tar.zst", ".tbz2", ".txz")
"""Archives that are not read: their members cannot be streamed one after the other, or not at all."""
STATS_ENDING: Final = "_stats.json"


def is_tar(path: str) -> bool:
    """Whether a path is a tar's, compressed with gzip or not."""
    return path.lower().endswith(TAR_ENDINGS)


def is_picture(path: str) -> bool:
    """Whether a path ends like a picture's."""
    return path.rpartition(".")[2].lower() in PICTURE_ENDINGS and "." in path


def is_metadata(path: str) -> bool:
    """Whether a path is that of an image folder's table."""
    return path.rpartition("/")[2].lower() in METADATA_NAMES


def is_hidden(path: str) -> bool:
    """Whether a file, or a folder that it is in, begins with a dot or is what macOS adds to archives."""
    return any(name.startswith(".") or name == "__MACOSX" for name in path.split("/"))


def guess_form(paths: Sequence[str]) -> Form:
    """The form of a source with these files. Raises `StageError` where it could be none or several."""
    seen = {path for path in paths if not is_hidden(path)}
    check_archives(seen)
    tars = sum(map(is_tar, seen))
    pictures = sum(map(is_picture, seen))
    tables = sum(path.endswith(".parquet") and not is_metadata(path) for path in seen)
    shards = sum(_is_shard_table(path, seen) for path in seen)
    if shards and shards == tables:
        return "img2dataset"
    found: dict[Form, int] = {"webdataset": tars, "parquet": tables, "folder": pictures}
    forms = [form for form, number in found.items() if number]
    if len(forms) == 1:
        return forms[0]
    if not forms:
        raise StageError(
            f"none of the {len(seen):,} files is a tar, a Parquet file or a picture: {_endings(seen)}. Pairs are read "
            "from img2dataset folders, WebDataset tars, Parquet with image bytes, and folders of pictures"
        )
    counts = ", ".join(f"{found[form]:,} for {form!r}" for form in forms)
    raise StageError(
        f"the files are of several forms ({counts}): say which is meant with form={forms[0]!r}, or name fewer files in "
        "sources.toml, such as data/*.tar"
    )


def check_archives(paths: Iterable[str]) -> None:
    """Raise `StageError` where an archive is among the files that is not read, so that none is passed over unseen."""
    packed = sorted(path for path in paths if path.lower().endswith(ARCHIVE_ENDINGS))
    if packed:
        raise StageError(
            f"{packed[0]} is an archive that is not read ({len(packed):,} of the files are); unpack it, or write it as "
            "a tar. Where what it holds is not meant, say which form is, or name fewer files in sources.toml"
        )


def _is_shard_table(path: str, seen: set[str]) -> bool:
    """Whether a Parquet file is that of a shard of img2dataset: `00000.parquet` beside `00000_stats.json`."""
    stem = path.removesuffix(".parquet")
    return path.endswith(".parquet") and (
        f"{stem}{STATS_ENDING}" in seen or (f"{stem}.tar" in seen and stem.rpartition("/")[2].isdigit())
    )


def _endings(paths: Iterable[str]) -> str:
    endings = Counter(path.rpartition("/")[2].partition(".")[2] or "no ending" for path in paths)
    return ", ".join(f"{number:,} {ending}" for ending, number in endings.most_common(5)) or "there are none"
