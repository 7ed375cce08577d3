"""A chat written piece by piece has the tokens of the whole chat, wherever its pieces are cut."""

from __future__ import annotations

import random

import pytest
from tokenizers import Tokenizer

from neo_model.inputs.conversation import ConversationError, encode_prompt
from neo_model.inputs.growing_chat import OpenTurn, answer_closing
from neo_model.inputs.video_text import VideoStyle, clip_lines, frame_time

QUESTION = "\n\nWhat colour is it, <image> or <|im_end|>?"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Made to join line breaks with what stands around them, as few real ones do."""
    from tokenizers import decoders, models, pre_tokenizers, trainers

    from neo_model.inputs.conversation import add_special_tokens

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    texts = ["user\n", "\n\nWhat", "\n[00:01", "]:", "assistant\n", "\n[00:02"] * 9
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    made.train_from_iterator(texts, trainer)
    add_special_tokens(made)
    return made


def prompt(tokenizer: Tokenizer, content: str, counts: list[int]) -> list[int]:
    """All but the images of the question, whose tags are text."""
    message = {"role": "user", "content": content + QUESTION, "image_tags": list(range(len(counts)))}
    return encode_prompt(tokenizer, [message], counts).token_ids


@pytest.mark.parametrize("style", ["timestamps", "bare", "spatial", "numbered"])
def test_pieces_are_the_tokens_of_the_whole(tokenizer: Tokenizer, style: VideoStyle) -> None:
    chance = random.Random(1)
    content, counts = clip_lines([0.5 * number for number in range(9)], 4.5, style), list(range(1, 10))
    for _ in range(40):
        turn, written, left, remaining = OpenTurn(), [], content, list(counts)
        while left:
            size = chance.choice([1, 3, 20, 60, 400])
            while left.count("<image>", 0, size) != left.count("<image>", 0, size + 6):  # no tag is cut
                size += 1
            piece, left = left[:size], left[size:]
            images = [remaining.pop(0) for _ in range(piece.count("<image>"))]
            tokens, turn = turn.added(tokenizer, piece, images)
            written += tokens
            assert [*written, *turn.asked(tokenizer, QUESTION)] == prompt(
                tokenizer, content.removesuffix(left), counts[: len(counts) - len(remaining)]
            )


def test_a_question_alone_is_a_turn(tokenizer: Tokenizer) -> None:
    assert OpenTurn().asked(tokenizer, QUESTION) == prompt(tokenizer, "", [])


def test_a_chat_of_several_turns_is_that_of_its_messages(tokenizer: Tokenizer) -> None:
    first, second = (f"[{frame_time(time)}]:<image>\n" for time in (1.0, 2.0))
    shown, turn = OpenTurn().added(tokenizer, first, [4])
    asked = turn.asked(tokenizer, "Who?")
    answer = tokenizer.encode("Nobody.").ids
    later, turn = OpenTurn().added(tokenizer, second, [2])
    messages = [
        {"role": "user", "content": f"{first}Who?"},
        {"role": "assistant", "content": "Nobody."},
        {"role": "user", "content": f"{second}Why?"},
    ]
    whole = encode_prompt(tokenizer, messages, [4, 2]).token_ids
    assert whole == [*shown, *asked, *answer, *answer_closing(tokenizer), *later, *turn.asked(tokenizer, "Why?")]


def test_images_without_a_place_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ConversationError, match="1 <image> placeholders for 2 images"):
        OpenTurn().added(tokenizer, "<image>\n", [1, 2])


def test_nothing_is_written_for_text_alone(tokenizer: Tokenizer) -> None:
    assert OpenTurn().added(tokenizer, "one", []) == ([], OpenTurn(waiting_text="one"))
