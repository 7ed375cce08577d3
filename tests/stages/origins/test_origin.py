"""The one origin: its tables by split and slice, and its hosts while a block runs."""

import urllib.request

import pytest

from stages.origins.origin import reachable, read_conversation_table, read_document_table, read_url_table, source_name
from stages.toy_world import tables
from stages.toy_world.addresses import HOST, Address
from stages.toy_world.world import ToyWorld

WORLD = ToyWorld(num_train_images=20, num_heldout_images=3, num_documents=5, num_text_conversations=4)


def test_each_split_has_a_url_table_of_its_own() -> None:
    assert read_url_table(WORLD, "train").equals(tables.url_table(WORLD))
    assert read_url_table(WORLD, "heldout").equals(tables.heldout_url_table(WORLD))
    assert source_name("urls", "heldout") == "toy_world/urls/heldout"


def test_a_slice_is_the_same_rows_of_the_whole() -> None:
    assert read_document_table(WORLD, 1, 3).equals(read_document_table(WORLD).slice(1, 2))
    assert read_conversation_table(WORLD, "train", 2, 5).equals(read_conversation_table(WORLD, "train").slice(2, 3))


def test_held_out_conversations_are_questions_that_end_with_their_answer() -> None:
    rows = read_conversation_table(WORLD, "heldout").to_pylist()
    assert len(rows) == WORLD.num_heldout_images * 5
    for row in rows:
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
        assert row["messages"][-1]["content"] == row["answer"] and row["kind"]


def test_hosts_are_served_while_the_block_runs() -> None:
    with reachable() as routes:
        ip, port = routes[HOST]
        url = f"http://{ip}:{port}{Address(7, 'heldout', 0).path}"
        assert urllib.request.urlopen(url, timeout=30).read().startswith(b"\xff\xd8")
    with pytest.raises(OSError):
        urllib.request.urlopen(url, timeout=5)
