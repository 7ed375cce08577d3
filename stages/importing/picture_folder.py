"""A slice of a folder of pictures as pairs, with captions from tables, from files beside them, or from their names.

    metadata.jsonl, metadata.csv or metadata.parquet   a row for each picture of its folder and those below, with
                                                       `file_name` relative to it, a caption and any further columns
    a/1.jpg and a/1.txt (.caption, .json)              the text of one picture

A slice is a range of paths. Each part reads the tables that hold for its range and keeps the rows of its own range, so
that memory grows with a slice, and a row whose picture is not there belongs to exactly one slice. Every part reads all
rows of its tables: of folders with millions of pictures that is most of the work; such sets are better kept in tars.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final, TypeAlias

from stages.contract import PinnedFile, StageError
from stages.formats.sample_table import ItemReason
from stages.importing.captions import MAX_TEXT_BYTES, PairRule
from stages.importing.imported_pairs import ImportedPair
from stages.importing.intake import Intake, Outcome
from stages.importing.reasons import ImportReason
from stages.origins.columns import match_columns
from stages.origins.tables.batches import read_rows
from stages.origins.tables.formats import format_of
from stages.origins.tables.row_batches import MALFORMED

FILE_NAME: Final = "file_name"
"""Column of a metadata table that names the picture."""

OpenFile: TypeAlias = Callable[[PinnedFile], BinaryIO]
"""Opens a file of the source."""


@dataclass(frozen=True, kw_only=True)
class FolderSlice:
    """What one part reads of a folder: the paths behind `after`, up to `until`."""

    pictures: Sequence[PinnedFile]
    """Pictures in the range, sorted by path."""
    texts: Sequence[PinnedFile]
    """Texts that stand beside these pictures, or beside none in the range."""
    tables: Sequence[PinnedFile]
    """Metadata tables that may name pictures of the range."""
    after: str | None
    """Path before the range; None for the first slice."""
    until: str | None
    """Last path of the range; None for the last slice."""

    def holds(self, path: str) -> bool:
        """Whether a path is in the range."""
        return (self.after is None or path > self.after) and (self.until is None or path <= self.until)


@dataclass(slots=True)
class _Found:
    """What is known of one picture before it is read."""

    reason: ItemReason | None = None
    """Why there is no such picture; None where it is in the folder."""
    captions: list[tuple[str | bytes | ItemReason, str | None]] = field(default_factory=list)
    """Caption and further fields, as JSON, of each row that names the picture."""


def folder_of(file: PinnedFile) -> str:
    """The folder that a file is in; "" for the root."""
    return plain_path(file.path.rpartition("/")[0])


def stem_of(path: str) -> str:
    """A path without its ending: the texts of a picture have its stem."""
    return path.rpartition(".")[0]


def plain_path(path: str) -> str:
    """A path with composed letters: file systems and tables spell `é` in two ways."""
    return unicodedata.normalize("NFC", path)


def folder_pairs(
    part: FolderSlice, open_file: OpenFile, rule: PairRule, intake: Intake
) -> tuple[list[ImportedPair], list[str | None]]:
    """The pairs of a slice by path, and the further fields of each as JSON. Raises `StageError` for a wrong table."""
    files = {plain_path(file.path): file for file in part.pictures}
    found = {path: _Found() for path in files}
    if rule.captions == "beside":
        for path, caption, further in _rows(part, open_file, rule):
            known = found.setdefault(path, _Found(_why_missing(path)))
            known.captions.append((caption, further))
        _add_texts(part, open_file, rule, found)
    pairs, carried = [], []
    for path, known in sorted(found.items()):
        outcome: Outcome = known.reason or _taken(files[path], open_file, intake)
        for caption, further in known.captions or [(_without_text(rule, path), None)]:
            pairs.append(ImportedPair(path=path, key="", reference=path, url=None, caption=caption, outcome=outcome))
            carried.append(further)
    return pairs, carried


def _taken(file: PinnedFile, open_file: OpenFile, intake: Intake) -> Outcome:
    def read() -> bytes:
        with open_file(file) as opened:
            return opened.read()

    return intake.take_from(file.size_bytes, read)


def _without_text(rule: PairRule, path: str) -> str | bytes | ItemReason:
    return ImportReason.NO_CAPTION if rule.captions == "beside" else rule.caption({}, stem_of(path))


def _why_missing(path: str) -> ImportReason:
    """Why a path that a table names is not among the pictures."""
    steps = path.split("/")
    leads_outside = ".." in steps or "" in steps or any(step.endswith(":") for step in steps)
    return ImportReason.PATH_OUTSIDE if leads_outside else ImportReason.IMAGE_MISSING


def _add_texts(part: FolderSlice, open_file: OpenFile, rule: PairRule, found: dict[str, _Found]) -> None:
    """Give the pictures that no table names the texts beside them; a text without a picture is a missing picture."""
    pictures = {stem_of(path): path for path in found}
    beside: dict[str, dict[str, bytes | ItemReason]] = {}
    for file in part.texts:
        stem = stem_of(plain_path(file.path))
        picture = pictures.get(stem, stem)
        if picture not in found or not found[picture].captions:
            beside.setdefault(picture, {})[file.path.rpartition(".")[2].lower()] = _text(file, open_file)
    for picture, texts in beside.items():
        known = found.setdefault(picture, _Found(ImportReason.IMAGE_MISSING))
        known.captions.append((rule.caption(texts, picture), None))


def _text(file: PinnedFile, open_file: OpenFile) -> bytes | ItemReason:
    if file.size_bytes > MAX_TEXT_BYTES:
        return ImportReason.CAPTION_TOO_LARGE
    with open_file(file) as opened:
        return opened.read()


def _rows(
    part: FolderSlice, open_file: OpenFile, rule: PairRule
) -> Iterator[tuple[str, str | bytes | ItemReason, str | None]]:
    """Path, caption and further fields of each row of the tables whose picture is in the slice.

    A picture that tables of several folders could name belongs to that of the innermost one.
    """
    folders = {folder_of(file) for file in part.tables}
    for file in part.tables:
        folder = folder_of(file)
        inner = [one for one in folders if len(one) > len(folder) and _is_below(one, folder)]
        for path, row in _named_rows(file, folder, open_file, rule):
            if part.holds(path) and not any(_is_below(path, one) for one in inner):
                yield path, *row


def _named_rows(
    file: PinnedFile, folder: str, open_file: OpenFile, rule: PairRule
) -> Iterator[tuple[str, tuple[str | bytes | ItemReason, str | None]]]:
    columns: dict[str, str] | None = None
    name_column = rule.columns.get("image", FILE_NAME)
    with open_file(file) as opened:
        for number, row in enumerate(read_rows(opened, format_of(file.path), name=file.path)):
            if MALFORMED in row:
                yield f"{file.path}#{number}", (ImportReason.CAPTION_UNREADABLE, None)
                continue
            if columns is None:
                columns = _columns(list(row), name_column, rule, file.path)
            name = row.get(name_column)
            if not isinstance(name, str) or not name:
                yield f"{file.path}#{number}", (ImportReason.NO_CAPTION, None)
                continue
            caption = row.get(columns["caption"])
            further = {key: value for key, value in row.items() if key not in (name_column, columns["caption"])}
            yield _joined(folder, name), (_caption(caption), _as_json(further))


def _columns(found: list[str], name_column: str, rule: PairRule, path: str) -> dict[str, str]:
    if name_column not in found:
        raise StageError(
            f"{path} has no column {name_column!r}, which names the picture of each row; its columns are "
            f"{', '.join(map(repr, found))}. Say which one does: columns={{'image': {found[0]!r}}}"
        )
    mapping = {name: theirs for name, theirs in rule.columns.items() if name == "caption"}
    return match_columns(["caption"], [name for name in found if name != name_column], mapping, where=path)


def _caption(value: object) -> str | bytes | ItemReason:
    if value is None:
        return ImportReason.NO_CAPTION
    return value if isinstance(value, str | bytes) else ImportReason.CAPTION_UNREADABLE


def _as_json(further: Mapping[str, object]) -> str | None:
    return json.dumps(further, sort_keys=True, ensure_ascii=False, default=str) if further else None


def _joined(folder: str, name: str) -> str:
    """The path of a picture that a table in `folder` names: `./a//1.jpg` in `train` is `train/a/1.jpg`.

    A name that leads outside stays below the folder with its `..` or `//`, so that one slice finds it missing.
    """
    name = plain_path(name.replace("\\", "/"))
    if not name.startswith("/") and ".." not in name.split("/"):
        name = "/".join(step for step in name.split("/") if step not in ("", "."))
    return f"{folder}/{name}" if folder else name


def _is_below(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(f"{folder}/")
