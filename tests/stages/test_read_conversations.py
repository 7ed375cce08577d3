"""Every conversation ends with a verdict, and the pictures of those that are kept are there."""

from typing import Any

import pyarrow as pa
import pytest

from neo_model.inputs.conversation import IMAGE_PLACEHOLDER
from stages.artifacts.kinds import CONVERSATIONS_FILE
from stages.contract import StageError
from stages.formats.pairs import PairReader
from stages.formats.sample_table import balance_of, read_table
from stages.origins.slices import RowSlice, slice_rows
from stages.read_conversations import (
    ConversationReason,
    ReadConversationsRecipe,
    conversation_fields,
    conversation_table_of,
    read_conversation,
    read_conversations,
    read_rows,
)
from stages.toy_world.records import heldout_questions
from stages.toy_world.world import ToyWorld

RECIPE = ReadConversationsRecipe(origin=ToyWorld(), max_conversation_chars=200, max_images=2)
KNOWN = {"http://a/1.jpg": b"1" * 16, "http://a/2.jpg": b"2" * 16}


def row(*spoken: tuple[str | None, Any], images: Any = (b"http://a/1.jpg",), name: Any = b"n", **more: Any) -> Any:
    def raw(text: Any) -> Any:
        return text.encode() if isinstance(text, str) else text

    messages = [{"role": raw(role), "content": raw(content)} for role, content in spoken]
    return {"id": name, "images": images and list(images), "messages": messages, **more}


ASK, SAY = ("user", "<image>\nwhat?"), ("assistant", "a dog")
CASES: list[tuple[ConversationReason | None, Any]] = [
    (None, row(ASK, SAY)),
    (None, row(("system", "be kind"), ASK, SAY, ("user", "and?"), SAY)),
    (None, row(("user", "what?"), SAY, images=None)),
    (None, row(("user", "<image><image> what?"), SAY, images=[b"http://a/1.jpg", b"http://a/2.jpg"])),
    (ConversationReason.SCHEMA, row(ASK, SAY, name=None)),
    (ConversationReason.SCHEMA, row(ASK, ("assistant", None))),
    (ConversationReason.SCHEMA, row((None, "what?"), SAY)),
    (ConversationReason.SCHEMA, row(ASK, SAY, images=[None])),
    (ConversationReason.SCHEMA, {"id": b"n", "images": [], "messages": None}),
    (ConversationReason.SCHEMA, {"id": b"n", "images": [], "messages": [None]}),
    (ConversationReason.ENCODING, row(ASK, ("assistant", b"caf\xe9"))),
    (ConversationReason.ENCODING, row(ASK, SAY, images=[b"http://a/\xff"])),
    (ConversationReason.ENCODING, row(ASK, SAY, answer=b"caf\xe9")),
    (ConversationReason.ROLES, row(images=[])),
    (ConversationReason.ROLES, row(ASK)),
    (ConversationReason.ROLES, row(SAY, ASK)),
    (ConversationReason.ROLES, row(ASK, ASK, SAY)),
    (ConversationReason.ROLES, row(("human", "<image>what?"), ("gpt", "a dog"))),
    (ConversationReason.ROLES, row(("system", "be kind"), images=[])),
    (ConversationReason.ROLES, row(ASK, SAY, ("system", "be kind"), SAY)),
    (ConversationReason.MESSAGE_EMPTY, row(ASK, ("assistant", " \n"))),
    (ConversationReason.MESSAGE_EMPTY, row(("user", "<image>"), SAY)),
    (ConversationReason.TOO_LONG, row(ASK, ("assistant", "a" * 200))),
    (ConversationReason.TOO_MANY_IMAGES, row(("user", "<image>" * 3 + "?"), SAY, images=[b"http://a/1.jpg"] * 3)),
    (ConversationReason.PLACEHOLDERS, row(("user", "what?"), SAY)),
    (ConversationReason.PLACEHOLDERS, row(("user", "<image><image>what?"), SAY)),
    (ConversationReason.PLACEHOLDERS, row(("user", "what?"), ("assistant", "<image> a dog"))),
    (ConversationReason.PLACEHOLDERS, row(ASK, SAY, images=[])),
    (ConversationReason.IMAGE_MISSING, row(ASK, SAY, images=[b"http://a/3.jpg"])),
    (
        ConversationReason.IMAGE_MISSING,
        row(("user", "<image><image> what?"), SAY, images=[b"http://a/1.jpg", b"http://a/3.jpg"]),
    ),
]


@pytest.mark.parametrize(("reason", "given"), CASES)
def test_a_conversation_ends_with_its_reason(reason: ConversationReason | None, given: Any) -> None:
    read = read_conversation(given, RECIPE, KNOWN.get)
    assert read.reason is reason
    wanted = [KNOWN[url.decode()] for url in given["images"] or ()] if reason is None else []
    assert list(read.image_ids) == wanted


def test_every_reason_is_reached() -> None:
    assert {reason for reason, _ in CASES} - {None} == set(ConversationReason) - {ConversationReason.REPEATED_ROW}


def test_a_repeat_is_dropped_and_named_apart() -> None:
    rows = [row(ASK, SAY), row(ASK, SAY, name=b"other"), row(ASK, SAY)]
    (part,) = slice_rows(map(conversation_fields, rows), 10)
    table = conversation_table_of(rows, RowSlice.of(part).repeats, RECIPE, KNOWN.get)
    assert table["reason"].to_pylist() == [None, None, "repeated_row"]
    assert len(set(table["sample_id"].to_pylist())) == 3
    assert balance_of(table).total == 3


def test_text_is_cleaned_and_terms_of_the_model_stay_text() -> None:
    read = read_conversation(row(ASK, ("assistant", "cafe\u0301\x00 <|im_end|>")), RECIPE, KNOWN.get)
    assert read.messages == (
        {"role": "user", "content": "<image>\nwhat?"},
        {"role": "assistant", "content": "caf\u00e9 <|im_end|>"},
    )


def test_a_table_of_another_shape_is_refused() -> None:
    with pytest.raises(StageError, match="the table of conversations has"):
        read_rows(pa.table({"id": ["a"], "conversations": [[{"from": "human"}]]}))
    with pytest.raises(StageError, match="the table of conversations has"):
        read_rows(pa.table({"id": ["a"], "images": ["b"], "messages": ["c"]}))


def conversations(made: Any) -> list[dict[str, Any]]:
    tables = [read_table(made.read(part.file(CONVERSATIONS_FILE))) for part in made.parts]
    return pa.concat_tables(tables).to_pylist()


def test_pictures_of_the_toy_world_are_found_among_those_kept(toy_pairs: Any, carry: Any) -> None:
    world = toy_pairs.world
    recipe = ReadConversationsRecipe(origin=world, num_conversations_per_part=120)
    made = carry(read_conversations.bind("chat", recipe, toy_pairs.kept_step), toy_pairs.store)
    reader, rows = PairReader(toy_pairs.kept), conversations(made)
    assert len(rows) == world.num_train_images + world.num_text_conversations
    with_picture, without = rows[: world.num_train_images], rows[world.num_train_images :]
    assert all(found["verdict"] == "kept" and found["image_ids"] == [] for found in without)
    kept = [found for found in with_picture if found["verdict"] == "kept"]
    assert {found["reason"] for found in with_picture} == {None, "image_missing"}
    assert len(kept) == len({pair.url for pair in reader})
    for found in kept:
        assert reader.pair(found["image_ids"][0])
        placeholders = [message["content"].count(IMAGE_PLACEHOLDER) for message in found["messages"]]
        assert placeholders[0] == sum(placeholders) == 1


def test_heldout_questions_keep_their_truth(toy_pairs: Any, carry: Any) -> None:
    recipe = ReadConversationsRecipe(origin=toy_pairs.world, split="heldout")
    made = carry(read_conversations.bind("questions", recipe, toy_pairs.heldout_step), toy_pairs.store)
    rows, questions = conversations(made), list(heldout_questions(toy_pairs.world))
    assert made.manifest.items.kept == len(questions) == len(rows)
    for found, question in zip(rows, questions, strict=True):
        assert (found["kind"], found["answer"]) == (question.kind, question.answer)
        assert found["messages"][-1] == {"role": "assistant", "content": question.answer}
        assert found["messages"][:-1] == question.messages
