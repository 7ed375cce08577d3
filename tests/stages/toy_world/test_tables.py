"""Tables: the columns that readers expect, and Parquet that survives the trip."""

from pathlib import Path

import pyarrow.parquet as pq

from stages.toy_world import tables
from stages.toy_world.world import ToyWorld

WORLD = ToyWorld(num_train_images=50, num_heldout_images=4, num_documents=5, num_text_conversations=5)


def test_columns() -> None:
    url_columns = ["url", "caption", "width", "height", "similarity", "punsafe", "pwatermark", "language", "licence"]
    assert tables.url_table(WORLD).column_names == url_columns
    assert tables.heldout_url_table(WORLD).column_names == url_columns
    assert tables.conversation_table(WORLD).column_names == ["id", "images", "messages"]
    assert tables.document_table(WORLD).column_names == ["id", "text"]
    assert tables.question_table(WORLD).column_names == ["id", "url", "kind", "question", "answer"]


def test_sizes_and_slices() -> None:
    for table, num_rows in (
        (tables.url_table, 50),
        (tables.heldout_url_table, 4),
        (tables.conversation_table, 55),
        (tables.document_table, 5),
        (tables.question_table, 20),
    ):
        whole = table(WORLD)
        assert whole.num_rows == num_rows
        assert table(WORLD, 1, 3).equals(whole.slice(1, 2))


def test_parquet_round_trip(tmp_path: Path) -> None:
    table = tables.conversation_table(WORLD)
    pq.write_table(table, tmp_path / "conversations.parquet")
    assert pq.read_table(tmp_path / "conversations.parquet").equals(table)
