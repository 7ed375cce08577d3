"""The columns that the reference names are those that the tables have."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.local import make
from stages.artifacts.columns import COLUMNS
from stages.artifacts.kinds import (
    ANSWERS_FILE,
    CONVERSATIONS_FILE,
    DOCUMENTS_FILE,
    DRAW_FILE,
    ROW_INDEX_FILE,
    SAMPLES_FILE,
)
from stages.artifacts.records import PartRecord
from stages.contract import Source
from stages.conversations.conversation_table import conversation_table
from stages.download import raw_pairs
from stages.evaluation.answers import answer_table
from stages.formats.clips import clip_schema
from stages.mix_samples import MixRecipe, mix_samples
from stages.packing import write
from stages.read_text import ReadTextRecipe, read_text


def words(kind: pa.DataType) -> str:
    """A column's type as the reference spells it."""
    if pa.types.is_dictionary(kind):
        return words(kind.value_type)
    if pa.types.is_list(kind):
        return f"list of {words(kind.value_type)}"
    if pa.types.is_fixed_size_binary(kind):
        return f"{kind.byte_width} bytes"
    names = {"string": "text", "large_string": "text", "double": "float64", "float": "float32"}
    return "struct" if pa.types.is_struct(kind) else names.get(str(kind), str(kind))


def spelled(schema: pa.Schema) -> list[tuple[str, str]]:
    return [(field.name, words(field.type)) for field in schema]


def said(kind: str, file: str) -> list[tuple[str, str]]:
    return [(column.name, column.type) for column in COLUMNS[kind, file]]


@pytest.mark.parametrize(
    ("kind", "file", "schema"),
    [
        ("RawPairs", SAMPLES_FILE, raw_pairs._samples([], [], []).schema),
        ("RawClips", SAMPLES_FILE, clip_schema()),
        ("Conversations", CONVERSATIONS_FILE, conversation_table([], []).schema),
        ("Rows", ROW_INDEX_FILE, write._index_table([]).schema),
        ("Rows", SAMPLES_FILE, write._samples_table([], []).schema),
        ("Evaluation", ANSWERS_FILE, answer_table([]).schema),
    ],
)
def test_tables_have_the_columns_that_are_named(kind: str, file: str, schema: pa.Schema) -> None:
    assert said(kind, file) == spelled(schema)


def test_tables_that_are_made_have_the_columns_that_are_named(tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text('{"text": "A text that is long enough to be kept as it is."}\n')
    text = read_text.bind("text", ReadTextRecipe(source=Source("mine")))
    mix = mix_samples.bind("mix", MixRecipe(shares={"text": 1.0}), {"text": text})
    sources = {"mine": str(tmp_path / "texts.jsonl")}
    for step, kind, file in ((text, "TextDocuments", DOCUMENTS_FILE), (mix, "Draw", DRAW_FILE)):
        made = make(step, tmp_path / "store", sources=sources)
        record: PartRecord = made.parts[-1]
        with made.local_file(record.file(file)) as path:
            assert said(kind, file) == spelled(pq.read_schema(path))
