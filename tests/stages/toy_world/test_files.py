"""The toy world as files: the columns that readers expect, one line a row, the same bytes every time."""

import json
from pathlib import Path

from stages.toy_world.files import TABLES, write_files
from stages.toy_world.world import ToyWorld

WORLD = ToyWorld(
    num_train_images=50, num_heldout_images=4, num_documents=5, num_text_conversations=5,
    num_films=6, num_heldout_films=3, num_pairs=4, num_heldout_pairs=3, num_rooms=5, num_heldout_rooms=2,
)  # fmt: skip
URL_COLUMNS = ["url", "caption", "width", "height", "similarity", "punsafe", "pwatermark", "language", "licence"]


def test_columns_and_rows(tmp_path: Path) -> None:
    write_files(WORLD, tmp_path)
    rows = {path.name: [json.loads(line) for line in path.open()] for path in tmp_path.iterdir()}
    assert set(rows) == set(TABLES)
    assert all(len({tuple(row) for row in table}) == 1 for table in rows.values())
    assert {name: (len(table), list(table[0])) for name, table in rows.items()} == {
        "urls.jsonl": (50, URL_COLUMNS),
        "heldout_urls.jsonl": (4, URL_COLUMNS),
        "documents.jsonl": (5, ["id", "text"]),
        "conversations.jsonl": (55, ["id", "images", "messages"]),
        "questions.jsonl": (20, ["id", "images", "messages", "kind", "answer"]),
        "films.jsonl": (6, ["video", "caption"]),
        "heldout_films.jsonl": (3, ["video", "caption"]),
        "film_conversations.jsonl": (6, ["id", "video", "messages"]),
        "pair_conversations.jsonl": (4, ["id", "images", "messages"]),
        "room_conversations.jsonl": (5, ["id", "images", "messages"]),
        "ov_questions.jsonl": (15, ["id", "images", "videos", "messages", "kind", "answer"]),
    }
    assert all(
        row["messages"][-1] == {"role": "assistant", "content": row["answer"]} for row in rows["questions.jsonl"]
    )


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_files(WORLD, tmp_path / name)
    for name in TABLES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
