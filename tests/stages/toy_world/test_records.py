"""Rows: what they say is what the pictures show, and the bad ones are bad in the way they claim."""

from collections import Counter

from stages.toy_world.addresses import Address
from stages.toy_world.language import PLACES, PLURALS, QUESTIONS
from stages.toy_world.oddities import NUM_PER_DECK, Oddity, oddity, original_number
from stages.toy_world.records import (
    RowOddity,
    conversations,
    document_record,
    documents,
    heldout_questions,
    heldout_url_rows,
    picture_conversation,
    row_oddity,
    text_conversation,
    url_row,
    url_rows,
)
from stages.toy_world.scene import QUESTION_KINDS, QuestionKind, Scene, scene
from stages.toy_world.world import ToyWorld

WORLD = ToyWorld(num_train_images=400, num_heldout_images=30, num_documents=40, num_text_conversations=30)
ROWS = list(url_rows(WORLD))


def numbers(odd: RowOddity) -> list[int]:
    return [number for number in range(WORLD.num_train_images) if row_oddity(WORLD.seed, number) is odd]


def states(text: str, shown: Scene) -> bool:
    """Whether the text gives all five attributes of the scene."""
    shape = shown.shape if shown.count == "one" else PLURALS.get(shown.shape, shown.shape + "s")
    return f"{shown.count} {shown.colour} {shape} {PLACES[shown.position]}" in text and shown.word in text


def test_a_plain_row_describes_its_picture() -> None:
    for number in numbers(RowOddity.PLAIN):
        if oddity(WORLD.seed, number) is not Oddity.COPY:
            shown = scene(WORLD.seed, "train", number)
            row = ROWS[number]
            assert row["url"] == Address(WORLD.seed, "train", number).url
            assert states(row["caption"], shown)
            assert (row["width"], row["height"]) == (shown.width_px, shown.height_px)
            assert row["similarity"] > 0.25
            assert row["punsafe"] < 0.5
            assert row["pwatermark"] < 0.5


def test_the_row_of_a_copy_describes_the_original_under_its_own_url() -> None:
    copies = [number for number in numbers(RowOddity.PLAIN) if oddity(WORLD.seed, number) is Oddity.COPY]
    assert copies
    for number in copies:
        assert states(ROWS[number]["caption"], scene(WORLD.seed, "train", original_number(WORLD.seed, number)))
        assert ROWS[number]["url"] == Address(WORLD.seed, "train", number).url


def test_every_kind_of_bad_row_is_there_and_all_are_few() -> None:
    found = Counter(row_oddity(WORLD.seed, number) for number in range(NUM_PER_DECK))
    assert set(found) == set(RowOddity)
    assert found[RowOddity.PLAIN] >= 0.95 * NUM_PER_DECK


def test_a_repeated_row_is_another_row_whose_picture_is_good() -> None:
    for number in numbers(RowOddity.REPEATED):
        twins = [other for other, row in enumerate(ROWS) if row == ROWS[number] and other != number]
        assert any(
            row_oddity(WORLD.seed, twin) is RowOddity.PLAIN and oddity(WORLD.seed, twin) is Oddity.PLAIN
            for twin in twins
        )


def test_bad_rows_are_bad_in_the_way_they_claim() -> None:
    assert all(ROWS[number]["punsafe"] > 0.9 for number in numbers(RowOddity.UNSAFE))
    assert all(ROWS[number]["pwatermark"] > 0.9 for number in numbers(RowOddity.WATERMARKED))
    assert all(ROWS[number]["caption"] == "" for number in numbers(RowOddity.SPEECHLESS))
    assert all("<IMG_CONTEXT>" in ROWS[number]["caption"] for number in numbers(RowOddity.SPELLING))
    mismatched = numbers(RowOddity.MISMATCHED)
    assert all(ROWS[number]["similarity"] < 0.2 for number in mismatched)
    assert not any(states(ROWS[number]["caption"], scene(WORLD.seed, "train", number)) for number in mismatched)


def test_slices_are_the_rows_of_the_whole() -> None:
    assert list(url_rows(WORLD, 37, 52)) == ROWS[37:52]
    assert list(conversations(WORLD, 390, 410)) == list(conversations(WORLD))[390:410]
    assert list(documents(WORLD, 5, 9)) == list(documents(WORLD))[5:9]
    assert list(heldout_questions(WORLD, 13, 29)) == list(heldout_questions(WORLD))[13:29]
    assert len(list(conversations(WORLD))) == 430


def test_a_conversation_asks_every_kind_once_and_answers_from_the_picture() -> None:
    for number in range(200):
        record = picture_conversation(WORLD.seed, number)
        shown_number = original_number(WORLD.seed, number) if oddity(WORLD.seed, number) is Oddity.COPY else number
        shown = scene(WORLD.seed, "train", shown_number)
        users, assistants = record["messages"][::2], record["messages"][1::2]
        assert {message["role"] for message in users} == {"user"}
        assert {message["role"] for message in assistants} == {"assistant"}
        assert [message["content"].count("<image>") for message in users] == [1, 0, 0, 0, 0]
        assert record["images"] == [Address(WORLD.seed, "train", number).url]
        asked = [kind_of(message["content"].removeprefix("<image>\n")) for message in users]
        assert sorted(asked) == sorted(QUESTION_KINDS)
        assert [message["content"] for message in assistants] == [shown.answer(kind) for kind in asked]


def kind_of(question: str) -> QuestionKind:
    """The kind that a question of any wording belongs to."""
    return next(kind for kind, wordings in QUESTIONS.items() if question in wordings)


def test_text_states_what_it_asks() -> None:
    for number in range(30):
        conversation = text_conversation(WORLD.seed, number)
        told = scene(WORLD.seed, "told", number)
        assert conversation["images"] == []
        assert states(conversation["messages"][0]["content"], told)
        answers = sorted(message["content"] for message in conversation["messages"][1::2])
        assert answers == sorted(told.answer(kind) for kind in QUESTION_KINDS)
        text = document_record(WORLD, number)["text"]
        told = scene(WORLD.seed, "told", WORLD.num_text_conversations + number)
        assert states(text.splitlines()[0], told)
        assert all(f"Answer: {told.answer(kind)}" in text for kind in QUESTION_KINDS)


def test_held_out_questions_ask_each_kind_about_each_picture() -> None:
    questions = list(heldout_questions(WORLD))
    assert len(questions) == WORLD.num_heldout_images * len(QUESTION_KINDS)
    assert len({question.id for question in questions}) == len(questions)
    assert [row["url"] for row in heldout_url_rows(WORLD)] == list(dict.fromkeys(q.url for q in questions))
    for number, question in enumerate(questions):
        assert question.answer == scene(WORLD.seed, "heldout", number // len(QUESTION_KINDS)).answer(question.kind)
        assert question.messages == [{"role": "user", "content": f"<image>\n{question.question}"}]


def test_the_default_world_is_large_enough() -> None:
    world = ToyWorld()
    usable = sum(
        oddity(world.seed, n) in {Oddity.PLAIN, Oddity.MOVED, Oddity.CMYK, Oddity.TURNED, Oddity.TRANSPARENT}
        and row_oddity(world.seed, n) is RowOddity.PLAIN
        for n in range(world.num_train_images)
    )
    assert usable >= 10_000
    assert world.num_heldout_images * len(QUESTION_KINDS) >= 1_000


def test_rows_follow_from_seed_and_number_alone() -> None:
    assert url_row(7, 5) == ROWS[5]
    assert url_row(8, 5) != ROWS[5]
