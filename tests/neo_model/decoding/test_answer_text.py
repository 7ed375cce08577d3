"""Pieces of an answer, end to end, are the decoded answer; nothing that is shown has to be taken back."""

from __future__ import annotations

import random

import pytest
from tokenizers import Tokenizer

from neo_model.decoding.answer_text import AnswerText
from tests.worlds.colour_world import tiny_tokenizer

TEXTS = [
    "red", "  two words \n", "\n\n", "naïve café 🙂 done", "🙂", "the END of it", "ENENEND after", "a E N D", "",
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    made: Tokenizer = tiny_tokenizer()
    return made


def pieces(tokenizer: Tokenizer, token_ids: list[int], stops: tuple[str, ...] = ()) -> list[str]:
    text, told = AnswerText(tokenizer, stops), []
    for token_id in token_ids:
        told.append(text.add(token_id))
        if text.is_stopped:
            break
    return [*told, text.end()]


@pytest.mark.parametrize("text", TEXTS)
def test_the_pieces_are_the_answer(tokenizer: Tokenizer, text: str) -> None:
    token_ids = tokenizer.encode(text, add_special_tokens=False).ids
    told = pieces(tokenizer, token_ids)
    assert "".join(told) == tokenizer.decode(token_ids).strip() == text.strip()
    assert "\ufffd" not in "".join(told)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("stops", [("END",), ("N", "EN"), ("\n",), ("🙂", "nothing"), ("",)])
def test_an_answer_ends_before_the_first_stop_string(tokenizer: Tokenizer, text: str, stops: tuple[str, ...]) -> None:
    expected = text
    for length in range(len(text) + 1):  # the shortest beginning of the text that holds one of them decides
        if starts := [place for stop in stops if stop and (place := text[:length].find(stop)) >= 0]:
            expected = text[: min(starts)]
            break
    told = pieces(tokenizer, tokenizer.encode(text, add_special_tokens=False).ids, stops)
    assert "".join(told) == expected.strip()


def test_random_tokens_give_what_decoding_them_at_once_gives(tokenizer: Tokenizer) -> None:
    """Broken UTF-8 included: bytes that belong to no character."""
    chance = random.Random(0)
    for _ in range(50):
        token_ids = [chance.randrange(300) for _ in range(30)]
        assert "".join(pieces(tokenizer, token_ids)) == tokenizer.decode(token_ids).strip()


def test_what_is_certain_is_shown_at_once(tokenizer: Tokenizer) -> None:
    text = AnswerText(tokenizer, ["END"])
    shown = [text.add(token) for token in tokenizer.encode("xyz q E", add_special_tokens=False).ids]
    assert "".join(shown) == "xyz q", "the E may become END"
    for token in tokenizer.encode("ND z", add_special_tokens=False).ids:
        assert text.add(token) == ""
    assert text.is_stopped and text.end() == ""
