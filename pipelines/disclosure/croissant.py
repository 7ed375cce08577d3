"""An artifact of samples as Croissant 1.1, the JSON-LD by which data sets describe themselves to search and loaders.

Owns how files and tables of an artifact map to Croissant: a set of files for each name, and of the tables a set of
records with a field for each column. Paths are those of a copy by `neo get`: where this document lies in such a folder,
mlcroissant loads its rows, and `neo verify` names it as a file that the artifact does not have.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pipelines.exits import BadCommandError
from pipelines.outside.held_files import all_files
from stages.artifacts.artifact import Artifact
from stages.store.range_stream import buffered_ranges

if TYPE_CHECKING:
    import pyarrow as pa

CONFORMS_TO: Final = "http://mlcommons.org/croissant/1.1"
MAX_LISTED_FILES: Final = 1000
"""Files that are listed with their digests; of more, sets alone are, and `.neo/files.jsonl` of a copy has all."""
FORMATS: Final = {
    ".parquet": "application/x-parquet",
    ".tar": "application/x-tar",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".png": "image/png",
}
READ_BYTES: Final = 2**18
_CROISSANT: Final = (
    "annotation", "arrayShape", "citeAs", "column", "containedIn", "dataBiases", "dataCollection", "equivalentProperty",
    "excludes", "extract", "field", "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray",
    "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "personalSensitiveInformation", "readLines",
    "recordSet", "references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField",
    "transform",
)  # fmt: skip
"""Names that are Croissant's own."""


def context() -> dict[str, Any]:
    """What the names in the document stand for."""
    return {
        "@language": "en",
        "@vocab": "https://schema.org/",
        "sc": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "dct": "http://purl.org/dc/terms/",
        "conformsTo": "dct:conformsTo",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "examples": {"@id": "cr:examples", "@type": "@json"},
        "name": {"@container": "@language"},
        "description": {"@container": "@language"},
        **{name: f"cr:{name}" for name in _CROISSANT},
    }


def croissant_document(artifact: Artifact, *, name: str, licence: str | None, url: str | None) -> dict[str, Any]:
    """The description of an artifact. `url` is where the copy will be found, `licence` its address or identifier.

    Reads the manifest a part at a time, and the footer of the first table. Raises `BadCommandError` for an artifact
    without tables.
    """
    sets: dict[str, list[str]] = {}
    listed: list[dict[str, Any]] = []
    table: tuple[str, Any] | None = None
    for file, _ in all_files(artifact, ("*",)):
        base = file.entry.name.rpartition("/")[2]
        set_name = f"{file.phase}/{base}"
        sets.setdefault(set_name, [f"{file.phase}/*/{file.entry.name}"])
        if len(listed) <= MAX_LISTED_FILES:
            listed.append(_file(file.path, file.entry.size_bytes, file.entry.sha256))
        if base.endswith(".parquet"):
            table = (set_name, file.entry) if table is None or table[0] != set_name else table
    if table is None:
        raise BadCommandError(f"{artifact!r} has no tables, and is no data set", then=f"neo files {artifact.short}")
    head = artifact.head
    described: dict[str, Any] = {
        "@context": context(),
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": name,
        "description": f"{head.kind} made by the stage {head.stage} (number {head.number}): {head.items.kept:,} of "
        f"{head.items.total:,} items were kept. Fingerprint {head.fingerprint}, content {head.content}.",
        "version": f"0.0.0+{head.content[:12]}",
        "isLiveDataset": False,
        "distribution": [
            *(listed if len(listed) <= MAX_LISTED_FILES else ()),
            *({**_set(set_name), "includes": includes} for set_name, includes in sets.items()),
        ],
        "recordSet": [_records(table[0], _schema(artifact, table[1]))],
    }
    if licence is not None:
        described["license"] = licence
    if url is not None:
        described["url"] = url
    return described


def _file(path: str, size_bytes: int, sha256: str) -> dict[str, Any]:
    named = {"@type": "cr:FileObject", "@id": path, "name": path, "contentUrl": path}
    return {**named, "contentSize": f"{size_bytes} B", "encodingFormat": _format(path), "sha256": sha256}


def _set(name: str) -> dict[str, Any]:
    return {"@type": "cr:FileSet", "@id": f"set:{name}", "name": name, "encodingFormat": _format(name)}


def _format(name: str) -> str:
    return next((kind for suffix, kind in FORMATS.items() if name.endswith(suffix)), "application/octet-stream")


def _schema(artifact: Artifact, entry: Any) -> pa.Schema:
    import pyarrow.parquet as pq

    store = artifact.store
    stream = buffered_ranges(entry.size_bytes, partial(store.read_range, entry.key), READ_BYTES)
    return pq.ParquetFile(stream, pre_buffer=False).schema_arrow


def _records(set_name: str, schema: pa.Schema) -> dict[str, Any]:
    fields = [field for field in map(_field_of(set_name), schema) if field is not None]
    return {
        "@type": "cr:RecordSet",
        "@id": "rows",
        "name": "rows",
        "description": f"Rows of {set_name}.",
        "field": fields,
    }


def _field_of(set_name: str) -> Any:
    def field(column: pa.Field) -> dict[str, Any] | None:
        from pyarrow import types

        kind, inner = column.type, column.type
        is_list = types.is_list(kind) or types.is_large_list(kind)
        inner = kind.value_type if is_list else kind
        data_type = _data_type(inner)
        if data_type is None:  # a struct, which messages of conversations are
            return None
        told = {
            "@type": "cr:Field",
            "@id": f"rows/{column.name}",
            "name": f"rows/{column.name}",
            "description": f"Column {column.name} ({column.type}).",
            "dataType": data_type,
            "source": {"fileSet": {"@id": f"set:{set_name}"}, "extract": {"column": column.name}},
        }
        return {**told, "isArray": True, "arrayShape": "-1"} if is_list else told

    return field


def _data_type(kind: pa.DataType) -> str | None:
    """The type of a column's values; None for those that have none in Croissant."""
    from pyarrow import types

    tests = {
        "sc:Boolean": (types.is_boolean,),
        "sc:Integer": (types.is_integer,),
        "sc:Float": (types.is_floating, types.is_decimal),
        "sc:Date": (types.is_temporal,),
        "sc:Text": (
            types.is_string, types.is_large_string, types.is_null, types.is_binary, types.is_large_binary,
            types.is_fixed_size_binary,
        ),
    }  # fmt: skip
    return next((name for name, each in tests.items() if any(test(kind) for test in each)), None)
