"""The toy world's records as Arrow tables, with the columns of real tables of their kind.

Each function generates rows `start` to `stop` and no others.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from stages.toy_world.records import conversations, documents, heldout_questions, heldout_url_rows, url_rows
from stages.toy_world.world import ToyWorld

if TYPE_CHECKING:
    import pyarrow as pa


def url_table(world: ToyWorld, start: int = 0, stop: int | None = None) -> pa.Table:
    """Training pictures: url, caption, width, height, similarity, punsafe, pwatermark, language, licence."""
    import pyarrow as pa

    return pa.Table.from_pylist(list(url_rows(world, start, stop)), schema=_url_schema())


def heldout_url_table(world: ToyWorld, start: int = 0, stop: int | None = None) -> pa.Table:
    """Held-out pictures, with the columns of `url_table`."""
    import pyarrow as pa

    return pa.Table.from_pylist(list(heldout_url_rows(world, start, stop)), schema=_url_schema())


def conversation_table(world: ToyWorld, start: int = 0, stop: int | None = None) -> pa.Table:
    """Conversations: id, images (URLs), messages (role, content)."""
    import pyarrow as pa

    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    schema = pa.schema([("id", pa.string()), ("images", pa.list_(pa.string())), ("messages", pa.list_(message))])
    return pa.Table.from_pylist(list(conversations(world, start, stop)), schema=schema)


def document_table(world: ToyWorld, start: int = 0, stop: int | None = None) -> pa.Table:
    """Documents: id, text."""
    import pyarrow as pa

    schema = pa.schema([("id", pa.string()), ("text", pa.string())])
    return pa.Table.from_pylist(list(documents(world, start, stop)), schema=schema)


def question_table(world: ToyWorld, start: int = 0, stop: int | None = None) -> pa.Table:
    """Held-out questions: id, url, kind, question, answer."""
    import pyarrow as pa

    schema = pa.schema([(column, pa.string()) for column in ("id", "url", "kind", "question", "answer")])
    rows = [asdict(question) for question in heldout_questions(world, start, stop)]
    return pa.Table.from_pylist(rows, schema=schema)


def _url_schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            ("url", pa.string()),
            ("caption", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("similarity", pa.float64()),
            ("punsafe", pa.float64()),
            ("pwatermark", pa.float64()),
            ("language", pa.string()),
            ("licence", pa.string()),
        ]
    )
