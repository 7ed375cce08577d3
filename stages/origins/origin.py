"""The origins of data: the one module that knows which there are and how each is read.

A recipe names an origin and one of its splits. Tables are read in slices of rows, so that a part reads its own rows
only. The toy world is the only origin so far.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeAlias

from stages.toy_world.world import ToyWorld

if TYPE_CHECKING:
    import pyarrow as pa

    from stages.origins.routes import Routes

Split: TypeAlias = Literal["train", "heldout"]
"""The split of an origin: `train` is trained on, `heldout` is only evaluated on."""


def source_name(table: str, split: Split) -> str:
    """The source name that sample ids of a table's rows are hashed with. Changing one renames every sample."""
    return f"toy_world/{table}/{split}"


def read_url_table(origin: ToyWorld, split: Split, start: int = 0, stop: int | None = None) -> pa.Table:
    """Rows `start` to `stop` of the URL table: url, caption and further columns, which are carried along."""
    from stages.toy_world import tables

    if split == "heldout":
        return tables.heldout_url_table(origin, start, stop)
    return tables.url_table(origin, start, stop)


def read_document_table(origin: ToyWorld, start: int = 0, stop: int | None = None) -> pa.Table:
    """Rows `start` to `stop` of the text-only corpus: id, text."""
    from stages.toy_world import tables

    return tables.document_table(origin, start, stop)


def read_conversation_table(origin: ToyWorld, split: Split, start: int = 0, stop: int | None = None) -> pa.Table:
    """Rows `start` to `stop` of the conversations: id, images (URLs), messages (role, content).

    Those of split `heldout` are questions, with the further columns kind and answer.
    """
    import pyarrow as pa

    from stages.toy_world import records, tables

    if split == "train":
        return tables.conversation_table(origin, start, stop)
    questions = [
        {
            "id": question.id,
            "images": [question.url],
            "messages": [*question.messages, {"role": "assistant", "content": question.answer}],
            "kind": question.kind,
            "answer": question.answer,
        }
        for question in records.heldout_questions(origin, start, stop)
    ]
    return pa.Table.from_pylist(questions)


@contextmanager
def reachable() -> Iterator[Routes]:
    """Serve the hosts of an origin on this machine while the block runs; gives their routes."""
    from stages.toy_world.addresses import HOST
    from stages.toy_world.server import serve

    with serve() as web:
        yield {HOST: (web.ip, web.port)}
