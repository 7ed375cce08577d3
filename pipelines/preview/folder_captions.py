"""The captions of pictures that lie as files: from a metadata table of their folder, or from a text beside them."""

from __future__ import annotations

from functools import cached_property
from itertools import islice
from typing import BinaryIO, Final

from pipelines.preview.items import PreviewItem, PreviewPicture, PreviewSpan, SpanRole
from stages.contract import PinnedFile, StageError
from stages.importing.captions import PLAIN_TEXT_ENDINGS
from stages.importing.forms import is_metadata
from stages.origins.columns import match_columns
from stages.origins.files import open_file
from stages.origins.pinning import Selected
from stages.origins.places.place import ListedFile
from stages.origins.tables.batches import read_rows
from stages.origins.tables.formats import format_of

FILE_NAME: Final = "file_name"
"""Column of a metadata table that names the picture."""
MAX_ROWS: Final = 10_000
"""Rows of a metadata table that are looked at: a preview shows the first pictures."""
MAX_TEXT_BYTES: Final = 100_000


def open_listed(selected: Selected, file: ListedFile) -> BinaryIO:
    """A listed file as a stream of bytes with seeks."""
    pinned = PinnedFile(path=file.path, size_bytes=file.size_bytes, sha256=file.sha256, etag=file.etag)
    return open_file(selected.place.url, pinned)


class Captions:
    """The captions of one source's pictures; tables are read when the first is asked for."""

    def __init__(self, selected: Selected) -> None:
        self._selected = selected

    def item(self, path: str, picture: PreviewPicture) -> PreviewItem:
        """The item of a picture at `path`: its caption, or that there is none."""
        text = self._of_tables.get(path) or self._beside(path)
        verdict = "" if picture.jpeg is not None else "dropped: no picture"
        if not verdict and text is None:
            verdict = "failed: no_caption"
        spans = () if text is None else (PreviewSpan(role=SpanRole.GIVEN, text=text),)
        return PreviewItem(heading=path, verdict=verdict, spans=spans, pictures=(picture,))

    @cached_property
    def _of_tables(self) -> dict[str, str]:
        """Path of a picture to its caption in a metadata table."""
        found: dict[str, str] = {}
        for file in self._selected.files:
            if not is_metadata(file.path):
                continue
            folder = file.path[: -len(file.path.rpartition("/")[2])]
            with open_listed(self._selected, file) as stream:
                for row in islice(read_rows(stream, format_of(file.path), name=file.path), MAX_ROWS):
                    caption = _caption_column([name for name in row if name != FILE_NAME])
                    if isinstance(row.get(FILE_NAME), str) and isinstance(row.get(caption), str):
                        found[f"{folder}{row[FILE_NAME]}"] = row[caption]
        return found

    @cached_property
    def _by_path(self) -> dict[str, ListedFile]:
        return {file.path: file for file in self._selected.files}

    def _beside(self, path: str) -> str | None:
        """The text in a file with the picture's name and another ending."""
        for ending in PLAIN_TEXT_ENDINGS:
            file = self._by_path.get(f"{path.rpartition('.')[0]}.{ending}")
            if file is not None:
                with open_listed(self._selected, file) as stream:
                    return stream.read(MAX_TEXT_BYTES).decode("utf-8", "replace")
        return None


def _caption_column(names: list[str]) -> str:
    """The column that a stage would take for the caption; '' where it would refuse the table."""
    try:
        return match_columns(["caption"], names, {})["caption"]
    except StageError:
        return ""
