"""Rows of any source are cut into parts, and named, as if the whole table had been looked at at once."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import Field

from cluster.local import make
from stages.artifacts.artifact import Artifact
from stages.contract import (
    ItemBalance,
    Part,
    PartDraft,
    Recipe,
    Source,
    StageContext,
    StageError,
    stage,
)
from stages.origins import pieces, repeats, row_parts
from stages.origins.row_files import WantedRows
from stages.origins.row_parts import PartRowReader, tabulate
from stages.origins.tables.row_batches import MALFORMED
from tests.worlds.whole_table import RowSlice, slice_rows


class Listed(Artifact):
    """Parts hold `rows.json`."""


class ListRecipe(Recipe):
    source: Source = Source("urls")
    num_rows_per_part: int = 3
    columns: dict[str, str] = Field(default_factory=dict)
    carry: bool = True


def list_part(part: Part, draft: PartDraft, reader: PartRowReader) -> None:
    rows = reader.read(part)
    found = {"first_row": rows.first_row, "ordinals": rows.ordinals, "schema": str(rows.table.schema)}
    draft.path("rows.json").write_text(json.dumps({**found, "rows": rows.table.to_pylist()}, default=repr))
    draft.count(ItemBalance(kept=rows.table.num_rows))


@stage(number=1, recipe=ListRecipe, makes=Listed)
def list_rows(recipe: ListRecipe, *, ctx: StageContext) -> None:
    wanted = WantedRows(
        num_rows_per_part=recipe.num_rows_per_part,
        text=("url", "caption"),
        naming=("url", "caption"),
        mapping=recipe.columns,
        carry=recipe.carry,
        reserved=frozenset({"key"}),
    )
    rows = tabulate(ctx, ctx.pinned(recipe.source), wanted)
    ctx.spread(partial(list_part, reader=rows.reader), over=rows.parts, phase="list")


Lister = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def lister(tmp_path: Path) -> Iterator[Lister]:
    """List the rows of files in parts: content by path, then fields of the recipe."""

    def run(files: dict[str, bytes], **fields: Any) -> list[dict[str, Any]]:
        folder = tmp_path / "source"
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        step = list_rows.bind("list", ListRecipe(**fields))
        made = make(step, tmp_path / "store", sources={"urls": str(folder)})
        return [json.loads(made.read(part.file("rows.json"))) for part in made.phase("list")]

    yield run


def parquet(rows: list[dict[str, Any]] | pa.Table, **settings: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows), sink, **settings)
    return bytes(sink.getvalue())


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def urls(numbers: list[int]) -> list[dict[str, Any]]:
    return [{"url": f"http://a/{number}", "caption": "c"} for number in numbers]


NUMBERS = [0, 1, 0, 2, 0, 3, 3, 4, 5, 1, 0]


@pytest.mark.parametrize("size", [1, 3, 4, 100])
@pytest.mark.parametrize("cuts", [[], [4], [2, 2, 7]])
def test_parts_and_ordinals_are_those_of_the_whole_table(
    lister: Lister, monkeypatch: pytest.MonkeyPatch, size: int, cuts: list[int]
) -> None:
    monkeypatch.setattr(repeats, "RECORDS_PER_BUCKET", 2)
    monkeypatch.setattr(repeats, "ROWS_PER_RANGE", 5)
    rows, edges = urls(NUMBERS), [0, *cuts, len(NUMBERS)]
    files = {f"{number}.jsonl": jsonl(rows[start:end]) for number, (start, end) in enumerate(pairwise(edges))}
    listed = lister(files, num_rows_per_part=size)
    expected = slice_rows([(row["url"].encode(), b"c") for row in rows], size)
    assert [part["first_row"] for part in listed] == [RowSlice.of(part).start for part in expected]
    found = [{int(row): ordinal for row, ordinal in part["ordinals"].items()} for part in listed]
    assert found == [RowSlice.of(part).repeats for part in expected]
    assert [row["url"] for part in listed for row in part["rows"]] == [row["url"] for row in rows]


def test_files_read_in_several_parts_are_one_table(lister: Lister, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_parts, "GROUP_BYTES", 1)
    files = {f"{number}.jsonl": jsonl(urls(NUMBERS[number * 4 : number * 4 + 4])) for number in range(3)}
    listed = lister(files)
    assert [part["first_row"] for part in listed] == [0, 3, 4, 7, 8]
    ordinals = {part["first_row"] + int(row): n for part in listed for row, n in part["ordinals"].items()}
    whole = slice_rows([(row["url"].encode(), b"c") for row in urls(NUMBERS)], 100)
    assert ordinals == RowSlice.of(whole[0]).repeats


@pytest.mark.parametrize("form", ["jsonl", "txt", "parquet"])
def test_a_large_file_is_read_in_pieces(lister: Lister, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 200)
    monkeypatch.setattr(row_parts, "GROUP_BYTES", 1)
    rows = urls(list(range(100)))
    data = {
        "jsonl": jsonl(rows),
        "txt": "\r\n".join(row["url"] for row in rows).encode(),
        "parquet": parquet(rows, row_group_size=10),
    }[form]
    listed = lister({f"all.{form}": data}, columns={"caption": ""} if form == "txt" else {})
    assert len(listed) > 100 / 3 + 1  # pieces end with parts of their own
    assert [row["url"] for part in listed for row in part["rows"]] == [row["url"] for row in rows]
    assert all(row[MALFORMED] is None for part in listed for row in part["rows"])


def test_columns_of_files_are_united_by_name(lister: Lister) -> None:
    files = {
        "a.parquet": parquet([{"URL": "http://a/1", "TEXT": "c", "score": 1, "width": 5}]),
        "b.csv": b"TEXT,URL,licence\nd,http://a/2,CC\n",
        "c.jsonl": jsonl([{"URL": "http://a/3", "TEXT": "e", "score": 0.5, "tags": ["x", 1]}, {"URL": "http://a/4"}]),
        "README.md": b"not a table",
        "empty.csv": b"",
    }
    (part, last) = lister(files)
    assert [list(row.values()) for row in [*part["rows"], *last["rows"]]] == [
        ["http://a/1", "c", 1.0, 5, None, None, None],
        ["http://a/2", "d", None, None, None, "CC", None],
        ["http://a/3", "e", 0.5, None, None, None, '["x",1]'],
        ["http://a/4", None, None, None, None, None, None],
    ]
    assert list(part["rows"][0]) == ["url", "caption", "score", "width", MALFORMED, "licence", "tags"]


def test_rows_that_cannot_be_read_keep_their_place(lister: Lister) -> None:
    (part,) = lister({"a.csv": b"url,caption\nhttp://a/1,c\nhttp://a/2\nhttp://a/3,c\n"})
    assert [row["url"] for row in part["rows"]] == ["http://a/1", None, "http://a/3"]
    assert part["rows"][1][MALFORMED].startswith("line 3: 1 fields, the header has 2")


def test_text_may_be_spelled_by_other_types(lister: Lister) -> None:
    (part,) = lister({"a.jsonl": jsonl([{"url": "http://a", "caption": 1984}, {"url": ["x"], "caption": True}])})
    assert [(row["url"], row["caption"]) for row in part["rows"]] == [("http://a", "1984"), (None, "true")]


@pytest.mark.parametrize(
    ("files", "fields", "message"),
    [
        ({"a.csv": b"link to it,caption\nx,y\n"}, {}, r"a.csv has no column 'url'; its columns are 'link to it'"),
        ({"a.csv": b"url,TEXT,title\nx,y,z\n"}, {}, r"may be 'caption'"),
        ({"a.csv": b"url,caption,key\nx,y,z\n"}, {}, r"column 'key', a name that our own tables use"),
        ({"a.csv": b"url,caption,x,x\nx,y,z,z\n"}, {}, r"column 'x' 2 times"),
        ({"a.csv": b"url,caption\nx,y\n", "b.csv": b"URL,caption\nx,y\n"}, {}, r"b.csv has no column 'url'"),
        (
            {"a.parquet": parquet([{"url": "x", "caption": "y", "w": 1}]), "b.csv": b"url,caption,w\nx,y,1\n"},
            {},
            r"column 'w' is int64 in a.parquet and string in b.csv; give it one type",
        ),
        ({"a.parquet": parquet([{"url": ["x"], "caption": "y"}])}, {}, r"'url' of a.parquet is list<.*must be text"),
        ({"a.md": b"#"}, {}, r"a.md is no table"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_last_phase(
    lister: Lister, files: dict[str, bytes], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(StageError, match=message):
        lister(files, **fields)


def test_only_wanted_columns_are_read_where_nothing_is_carried(lister: Lister) -> None:
    (part,) = lister({"a.csv": b"url,caption,key,x\nx,y,z,1\n"}, carry=False)
    assert part["rows"] == [{"url": "x", "caption": "y", MALFORMED: None}]


def test_a_source_without_rows_is_refused(lister: Lister) -> None:
    with pytest.raises(StageError, match="source 'urls' has no rows: its 2 files"):
        lister({"a.csv": b"url,caption\n", "b.jsonl": b""})
