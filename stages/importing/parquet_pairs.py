"""The rows of Parquet with the bytes of pictures as pairs, as the hub keeps them and as img2dataset writes them.

A picture is a struct of `bytes` and `path`, or a column of binary. Row groups are streamed in batches of a few rows, so
memory holds a few pictures, and the other columns of one part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from stages.contract import StageError
from stages.formats.sample_table import ItemReason
from stages.importing.captions import PairRule
from stages.importing.img2dataset_reasons import SUCCESS, reason_of
from stages.importing.imported_pairs import ImportedPair
from stages.importing.intake import Intake, Outcome
from stages.importing.reasons import ImportReason
from stages.origins.columns import match_columns, spelled_column
from stages.origins.tables.parquet import cast_columns, without_views

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

BATCH_ROWS: Final = 16
"""Rows in memory at a time, with their pictures."""
BUFFER_BYTES: Final = 1024 * 1024
"""How much of each column chunk is read ahead, in bytes."""
IMAGE_NAMES: Final = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "photo", "image_bytes", "bytes")
"""Names of binary columns that are taken for pictures, the surest first."""
TOOL_COLUMNS: Final = ("status", "error_message")
"""Columns by which a table of img2dataset is known."""


@dataclass(frozen=True, slots=True)
class PairColumns:
    """The table's own names of what is read."""

    image: str
    caption: str | None
    """None where captions do not come from the table."""
    url: str | None
    has_status: bool
    """Whether the table is img2dataset's, and says of each row whether a picture was got."""


def pair_columns(schema: pa.Schema, rule: PairRule, path: str) -> PairColumns:
    """The columns of the table at `path` that are read. Raises `StageError` where one is missing or unclear."""
    image = _image_column(schema, rule, path)
    caption = None
    others = [name for name in schema.names if not _holds_bytes(schema.field(name).type)]
    if rule.captions == "beside":
        mapping = {name: theirs for name, theirs in rule.columns.items() if name == "caption"}
        found = others
        if mapping.get("caption", spelled_column("caption", others)) not in others:  # text may be kept as binary
            found = [name for name in schema.names if name != image]
        caption = match_columns(["caption"], found, mapping, where=path)["caption"]
        _check_is_text(schema, caption, "caption", path)
    url = rule.columns.get("url", "url")
    if "url" in rule.columns:
        named = [name for name in schema.names if name != image]
        _check_is_text(schema, match_columns(["url"], named, {"url": url}, where=path)["url"], "url", path)
    is_read = url in schema.names and url != image and _may_be_text(schema.field(url).type)
    url_column = url if is_read else None
    has_status = all(name in others for name in TOOL_COLUMNS)
    return PairColumns(image, caption, url_column, has_status)


def open_parquet(file: BinaryIO, path: str) -> pq.ParquetFile:
    """Open Parquet for streaming. Raises `StageError` where it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(pa.PythonFile(file, mode="r"), buffer_size=BUFFER_BYTES, pre_buffer=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise StageError(f"{path} is not a whole Parquet file: {error}") from error


def read_whole(file: BinaryIO, path: str) -> pa.Table:
    """A small Parquet file as a table. Raises `StageError` where it is damaged."""
    import pyarrow as pa

    try:
        table = open_parquet(file, path).read()
        return table.cast(plain_schema(table.schema))
    except (pa.ArrowException, OSError) as error:
        raise StageError(f"{path} cannot be read: {error}") from error


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The columns as they are read: without views at any depth."""
    import pyarrow as pa

    return pa.schema([one.with_type(without_views(one.type)) for one in schema])


def parquet_pairs(
    file: BinaryIO, path: str, groups: Sequence[int], *, first_row: int, rule: PairRule, intake: Intake
) -> tuple[list[ImportedPair], pa.Table]:
    """The pairs of some row groups of the table at `path`, and the columns that are carried.

    `first_row` is the number of the first of these rows in the file. Raises `StageError` where the file is damaged.
    """
    import pyarrow as pa

    table = open_parquet(file, path)
    schema = plain_schema(table.schema_arrow)
    columns = pair_columns(schema, rule, path)
    kept = _carried_names(schema, columns)
    pairs: list[ImportedPair] = []
    carried = [pa.Table.from_batches([], schema).select(kept)]
    try:
        for read in table.iter_batches(BATCH_ROWS, row_groups=list(groups), use_threads=False):
            batch = cast_columns(read, schema)
            for row in _rows(batch, columns):
                pairs.append(_pair(row, (path, first_row + len(pairs)), rule, intake))
            carried.append(pa.Table.from_batches([batch]).select(kept))
    except (pa.ArrowException, OSError) as error:
        raise StageError(f"{path} cannot be read in its row groups {list(groups)}: {error}") from error
    return pairs, pa.concat_tables(carried)


@dataclass(frozen=True, slots=True)
class _Row:
    image: bytes | None
    texts: Mapping[str, str | None]
    """Path of the picture, caption, url, status and error message, where the table has them."""
    captions: bytes | None


def _rows(batch: pa.RecordBatch, columns: PairColumns) -> Iterator[_Row]:
    import pyarrow as pa
    import pyarrow.compute as pc

    image = batch.column(columns.image)
    texts = {}
    if pa.types.is_struct(image.type):
        if image.type.get_field_index("path") >= 0:
            texts["path"] = _bytes(pc.struct_field(image, "path"))
        image = pc.struct_field(image, "bytes")
    named = {"url": columns.url, "status": None, "error_message": None}
    if columns.has_status:
        named |= {name: name for name in TOOL_COLUMNS}
    texts |= {ours: _bytes(batch.column(theirs)) for ours, theirs in named.items() if theirs is not None}
    captions = _bytes(batch.column(columns.caption)) if columns.caption else [None] * batch.num_rows
    for number, data in enumerate(_bytes(image)):
        of_row = {name: _spelled(values[number]) for name, values in texts.items()}
        yield _Row(data, of_row, captions[number])


def _pair(row: _Row, place: tuple[str, int], rule: PairRule, intake: Intake) -> ImportedPair:
    path, number = place
    reference = row.texts.get("path") or f"{path}#{number}"
    reason: ItemReason | None = None
    if "status" in row.texts:
        status, message = row.texts["status"], row.texts["error_message"]
        reason = reason_of(status, message)
        if reason == "unexplained" and status != SUCCESS:
            intake.remark(f"{status}: {message}")
    outcome: Outcome = reason or ImportReason.IMAGE_MISSING
    if reason is None and row.image is not None:
        outcome = intake.take(row.image)
    caption: str | bytes | ItemReason = ImportReason.NO_CAPTION if row.captions is None else row.captions
    if rule.captions != "beside":
        caption = rule.caption({}, reference)
    return ImportedPair(
        path=path, key=str(number), reference=reference, url=row.texts.get("url"), caption=caption, outcome=outcome
    )


def _bytes(column: pa.Array) -> list[bytes | None]:
    """Binary or text as bytes, because text in Parquet need not be UTF-8."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    values: list[bytes | None] = column.cast(pa.large_binary()).to_pylist()
    return values


def _spelled(text: bytes | None) -> str | None:
    return None if text is None else text.decode("utf-8", "surrogateescape")


def _carried_names(schema: pa.Schema, columns: PairColumns) -> list[str]:
    """The columns that are carried along: all but pictures, caption and URL."""
    taken = {columns.image, columns.caption, columns.url}
    return [name for name in schema.names if name not in taken and not _holds_bytes(schema.field(name).type)]


def _image_column(schema: pa.Schema, rule: PairRule, path: str) -> str:
    wanted = rule.columns.get("image")
    holding = [name for name in schema.names if _is_picture(schema.field(name).type)]
    if wanted is not None:
        if wanted in holding:
            return wanted
        there = f"is {schema.field(wanted).type}" if wanted in schema.names else "is not there"
        raise StageError(f"{path}: column {wanted!r}, which `columns` names for 'image', {there}; {_shown(schema)}")
    structs = [name for name in holding if not _is_binary(schema.field(name).type)]
    known = [name for name in IMAGE_NAMES if name in holding]
    found = structs or known[:1] or holding
    if len(found) == 1:
        return found[0]
    if found:
        raise StageError(
            f"{path} has several columns with pictures: {', '.join(found)}; say which is meant: "
            f"columns={{'image': {found[0]!r}}}"
        )
    raise StageError(f"{path} has no column with the bytes of pictures, one to a row; {_shown(schema)}")


def _check_is_text(schema: pa.Schema, name: str, ours: str, path: str) -> None:
    kind = schema.field(name).type
    if not _may_be_text(kind):
        raise StageError(
            f"{path}: column {name!r} is {kind}, and a {ours} must be text; {_shown(schema)}. Write it as text, or "
            f"name the column that is meant: columns={{{ours!r}: '...'}}"
        )


def _shown(schema: pa.Schema) -> str:
    return "its columns are " + ", ".join(f"{field.name} ({field.type})" for field in schema)


def _is_picture(kind: pa.DataType) -> bool:
    """Whether a column of this type holds the bytes of one picture a row."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        at = kind.get_field_index("bytes")
        return at >= 0 and _is_binary(kind.field(at).type)
    return _is_binary(kind)


def _holds_bytes(kind: pa.DataType) -> bool:
    """Whether a column of this type holds binary at any depth, and so is not carried along."""
    if _is_binary(kind):
        return True
    return any(_holds_bytes(kind.field(number).type) for number in range(kind.num_fields))


def _is_binary(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _may_be_text(kind: pa.DataType) -> bool:
    """Whether a column of this type is read as text, which may be kept as binary."""
    return _is_text(kind) or _is_binary(kind)


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind))
