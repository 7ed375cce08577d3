"""Every document of the corpus ends with a verdict, and what is kept is clean."""

import bz2
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.local import make
from stages.artifacts.kinds import DOCUMENTS_FILE, TextDocuments
from stages.contract import Source, StageError
from stages.formats.sample_table import balance_of, read_table
from stages.origins.row_parts import PartRows
from stages.origins.sample_id import sample_id
from stages.origins.tables.row_batches import MALFORMED
from stages.read_text import ReadTextRecipe, TextReason, cut_text, read_documents, read_text
from stages.store.store import Store
from stages.toy_world.records import documents
from stages.toy_world.world import ToyWorld
from tests.stages.conftest import NUM_TOY_IMAGES

RECIPE = ReadTextRecipe(source=Source("corpus"), max_document_chars=30, long_documents="drop")
ROWS: list[tuple[TextReason | None, bytes | None, bytes | None]] = [
    (None, b"1", "  cafe\u0301 \r\nnoir\x07 ".encode()),
    (TextReason.SCHEMA, b"2", None),
    (None, None, b"a text"),
    (TextReason.ENCODING, b"3", b"caf\xe9"),
    (TextReason.EMPTY, b"4", b" \n\x00"),
    (TextReason.TOO_LONG, b"5", b"a" * 31),
    (TextReason.REPEATED_ROW, b"1", "  cafe\u0301 \r\nnoir\x07 ".encode()),
    (None, b"6", "  cafe\u0301 \r\nnoir\x07 ".encode()),
    (TextReason.MALFORMED_ROW, None, None),
]


def corpus() -> PartRows:
    columns = {"id": [row[1] for row in ROWS], "text": [row[2] for row in ROWS]}
    table = pa.table({name: pa.array(texts, pa.binary()).view(pa.string()) for name, texts in columns.items()})
    errors = pa.array([*[None] * (len(ROWS) - 1), "line 9: no JSON"], pa.string())
    return PartRows(table.append_column(MALFORMED, errors), {6: 1}, first_row=100)


def test_each_document_ends_with_its_reason() -> None:
    read = read_documents(corpus(), RECIPE)
    assert read["reason"].to_pylist() == [reason and reason.value for reason, *_ in ROWS]
    assert read["text"][0].as_py() == read["text"][7].as_py() == "caf\u00e9 \nnoir"
    assert len(set(read["sample_id"].to_pylist())) == len(ROWS)
    assert read["sample_id"][2].as_py() == sample_id("corpus", [None, b"a text"])
    assert read["row"].to_pylist() == list(range(100, 109))
    assert balance_of(read).total == len(ROWS)
    assert {reason for reason, *_ in ROWS} - {None} == set(TextReason)


def test_a_long_document_becomes_pieces_with_ids_of_their_own() -> None:
    text = b"One two. Three four five.\nSix seven eight nine ten."
    table = pa.table({"id": ["1"], "text": [text.decode()], MALFORMED: pa.nulls(1, pa.string())})
    recipe = RECIPE.model_copy(update={"long_documents": "cut"})
    read = read_documents(PartRows(table, {}, first_row=7), recipe)
    assert read["text"].to_pylist() == ["One two. Three four five.", "Six seven eight nine ten."]
    assert (read["row"].to_pylist(), read["piece"].to_pylist()) == ([7, 7], [0, 1])
    fields = [b"1", text]
    expected = [sample_id("corpus", fields), sample_id("corpus", [*fields, b"piece 1"])]
    assert read["sample_id"].to_pylist() == expected


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("aaaa\n\nbbb ccc\ndd", ["aaaa", "bbb ccc\ndd"]),
        ("aaaa bbb\nccc ddd eee", ["aaaa bbb", "ccc ddd", "eee"]),
        ("Aaa bb. Cc dd ee ff", ["Aaa bb.", "Cc dd ee", "ff"]),
        ("aaa bbb ccc ddd", ["aaa bbb", "ccc ddd"]),
        ("a" * 25, ["a" * 10, "a" * 10, "a" * 5]),
        (
            "\u732b\u304c\u3044\u308b\u3002\u72ac\u304c\u3044\u308b\u3002\u9ce5",
            ["\u732b\u304c\u3044\u308b\u3002\u72ac\u304c\u3044\u308b\u3002", "\u9ce5"],
        ),
    ],
)
def test_a_text_is_cut_at_the_best_place(text: str, pieces: list[str]) -> None:
    assert list(cut_text(text, 10)) == pieces


@given(st.text(alphabet="ab .\n", max_size=200), st.integers(1, 20))
def test_pieces_hold_all_of_the_text_but_white_space(text: str, max_chars: int) -> None:
    pieces = list(cut_text(text, max_chars))
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(0 < len(piece) <= max_chars for piece in pieces)


def read(folder: Path, files: dict[str, bytes], **fields: Any) -> TextDocuments:
    """What `read_text` makes of files with these contents."""
    for name, data in files.items():
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "source" / name).write_bytes(data)
    step = read_text.bind("text", ReadTextRecipe(source=Source("corpus"), **fields))
    return make(step, folder / "store", sources={"corpus": str(folder / "source")})


def texts_of(made: TextDocuments) -> list[str | None]:
    tables = [read_table(made.read(part.file(DOCUMENTS_FILE))) for part in made.parts]
    return list(pa.concat_tables(tables)["text"].to_pylist())


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


FORMS = {
    "a.parquet": parquet(pa.table({"url": ["u", "v"], "text": ["first", "second"]})),
    "a.jsonl": b'{"text": "first", "meta": {"a": 1}}\r\n{"text": "second"}\r\n',
    "a.jsonl.gz": gzip.compress(b'{"content": "first"}\n{"content": "second"}\n'),
    "a.json": json.dumps([{"id": 1, "text": "first"}, {"id": 2, "text": "second"}]).encode(),
    "a.csv": b"id,body\n1,first\n2,second\n",
    "a.txt": b"first\r\n\r\nsecond\r\n",
    "a.txt.bz2": bz2.compress(b"first\nsecond"),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_documents(tmp_path: Path, name: str) -> None:
    assert texts_of(read(tmp_path, {name: FORMS[name]})) == ["first", "second"]


def test_in_a_folder_of_text_files_each_is_a_document_unless_said_otherwise(tmp_path: Path) -> None:
    files = {"a/one.txt": b"first\n\nsecond", "b/two.txt": b"third\n", "README.md": b"no document"}
    assert texts_of(read(tmp_path, files)) == ["first\n\nsecond", "third"]
    assert texts_of(read(tmp_path, files, txt_documents="line")) == ["first", "second", "third"]


def test_long_documents_are_cut_or_dropped_as_the_recipe_says(tmp_path: Path) -> None:
    files = {"a.txt": b"short\n" + b"one two three four five\n"}
    made = read(tmp_path, files, max_document_chars=10)
    assert texts_of(made) == ["short", "one two", "three four", "five"]
    assert made.manifest.items.kept == 4 and made.parts[0].facts["num_documents"] == 2
    dropped = read(tmp_path, files, max_document_chars=10, long_documents="drop")
    assert dropped.manifest.items.dropped == {"too_long": 1}


def test_a_corpus_without_text_is_refused_with_its_columns(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"a.csv has no column 'text'; its columns are 'id', 'words'"):
        read(tmp_path, {"a.csv": b"id,words\n1,x\n"})


def test_a_corpus_that_is_lost_whole_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"of 2 documents, none were kept.*2 encoding \(such as row 0"):
        read(tmp_path, {"a.txt": b"caf\xe9\nol\xe9\n"})


def test_the_toy_corpus_is_read_whole_and_alike_whatever_the_parts(carry: Any, tmp_path: Any) -> None:
    world = ToyWorld(
        num_train_images=NUM_TOY_IMAGES, num_heldout_images=20, num_documents=50, num_text_conversations=40
    )
    tables = {}
    for size in (20, 1000):
        recipe = ReadTextRecipe(source=Source("toy_documents"), num_documents_per_part=size)
        made = carry(read_text.bind("text", recipe), Store(tmp_path))
        assert made.manifest.items.kept == 50
        tables[size] = pa.concat_tables([read_table(made.read(part.file(DOCUMENTS_FILE))) for part in made.parts])
    assert tables[20] == tables[1000]
    assert tables[20]["text"].to_pylist() == [row["text"] for row in documents(world)]
