"""Every document of the corpus ends with a verdict, and what is kept is clean."""

from typing import Any

import pyarrow as pa
import pytest

from stages.artifacts.kinds import DOCUMENTS_FILE
from stages.contract import StageError
from stages.formats.sample_table import balance_of, read_table
from stages.origins.slices import RowSlice, slice_rows
from stages.read_text import ReadTextRecipe, TextReason, document_fields, read_documents, read_text
from stages.store.store import Store
from stages.toy_world.tables import document_table
from stages.toy_world.world import ToyWorld

RECIPE = ReadTextRecipe(origin=ToyWorld(), max_document_chars=30)
ROWS: list[tuple[TextReason | None, bytes | None, bytes | None]] = [
    (None, b"1", "  cafe\u0301 \r\nnoir\x07 ".encode()),
    (TextReason.SCHEMA, b"2", None),
    (TextReason.SCHEMA, None, b"a text"),
    (TextReason.ENCODING, b"3", b"caf\xe9"),
    (TextReason.EMPTY, b"4", b" \n\x00"),
    (TextReason.TOO_LONG, b"5", b"a" * 31),
    (TextReason.REPEATED_ROW, b"1", "  cafe\u0301 \r\nnoir\x07 ".encode()),
    (None, b"6", "  cafe\u0301 \r\nnoir\x07 ".encode()),
]


def corpus() -> pa.Table:
    columns = {"id": [row[1] for row in ROWS], "text": [row[2] for row in ROWS]}
    return pa.table({name: pa.array(texts, pa.binary()).view(pa.string()) for name, texts in columns.items()})


def test_each_document_ends_with_its_reason() -> None:
    (part,) = slice_rows(document_fields(corpus()), 100)
    read = read_documents(corpus(), RowSlice.of(part).repeats, RECIPE)
    assert read["reason"].to_pylist() == [reason and reason.value for reason, *_ in ROWS]
    assert read["text"][0].as_py() == read["text"][7].as_py() == "caf\u00e9 \nnoir"
    assert len(set(read["sample_id"].to_pylist())) == len(ROWS)
    assert balance_of(read).total == len(ROWS)
    assert {reason for reason, *_ in ROWS} - {None} == set(TextReason)


def test_a_corpus_without_text_is_refused() -> None:
    with pytest.raises(StageError, match="column 'text' of the corpus is missing"):
        read_documents(pa.table({"id": ["a"]}), {}, RECIPE)


def test_the_toy_corpus_is_read_whole_and_alike_whatever_the_parts(carry: Any, tmp_path: Any) -> None:
    world = ToyWorld(num_documents=50)
    tables = {}
    for size in (20, 1000):
        step = read_text.bind("text", ReadTextRecipe(origin=world, num_documents_per_part=size))
        made = carry(step, Store(tmp_path))
        assert made.manifest.items.kept == 50
        tables[size] = pa.concat_tables([read_table(made.read(part.file(DOCUMENTS_FILE))) for part in made.parts])
    assert tables[20] == tables[1000]
    assert tables[20]["text"].to_pylist() == document_table(world)["text"].to_pylist()
