"""A chat about a film answers as if it had just read the film so far, and continues without the question."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer

from neo_model.cached_conversation import CacheFullError
from neo_model.generate import Prompt, generate
from neo_model.inputs.conversation import ConversationError, encode_prompt, special_ids
from neo_model.inputs.video_text import frame_time
from neo_model.live_chat import LiveChat, PatchedImage
from neo_model.model import NeoModel
from tests.neo_model.tiny import lively_model, tiny_config
from tests.worlds.colour_world import tiny_tokenizer

GRID = (4, 6)
LINES = [f"[{frame_time(number / 2)}]:<image>\n" for number in range(8)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    made: Tokenizer = tiny_tokenizer()
    return made


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> NeoModel:
    ids = special_ids(tokenizer)
    special = {"image_start_id": ids.image_start, "image_context_id": ids.image_context, "image_end_id": ids.image_end}
    return lively_model(tiny_config(vocab_size=352, **special))


def frames(number: int) -> list[PatchedImage]:
    rng = np.random.default_rng(0)
    return [(rng.integers(0, 256, (GRID[0] * GRID[1], 768), np.uint8), GRID) for _ in range(number)]


def whole_answer(
    model: NeoModel, tokenizer: Tokenizer, messages: list[dict[str, str]], images: list[PatchedImage]
) -> str:
    """The answer to a conversation that is read at once."""
    ids = special_ids(tokenizer)
    token_ids = encode_prompt(tokenizer, messages, [6] * len(images)).token_ids
    prompt = Prompt(token_ids=token_ids, patches=[patches for patches, _ in images], grids=[GRID] * len(images))
    (answer,) = generate(model, [prompt], max_new_tokens=6, stop_ids=[ids.turn_end, ids.end_of_text])
    text: str = tokenizer.decode(answer)
    return text.strip()


def test_questions_at_any_moment_of_a_film(model: NeoModel, tokenizer: Tokenizer) -> None:
    chat, shown, answers = LiveChat(model, tokenizer), frames(8), []
    for number, line in enumerate(LINES):
        chat.show(line, shown[number : number + 1])
        for question in ("Why?", "What colour is it?"):
            answers.append(chat.ask(question, max_new_tokens=6))
            message = {"role": "user", "content": "".join(LINES[: number + 1]) + question}
            assert answers[-1] == whole_answer(model, tokenizer, [message], shown[: number + 1])
    assert len(set(answers)) > 3


def test_what_is_remembered_stands_before_what_follows(model: NeoModel, tokenizer: Tokenizer) -> None:
    chat, shown = LiveChat(model, tokenizer), frames(2)
    chat.show(LINES[0], shown[:1])
    first = chat.ask("Why?", max_new_tokens=6, remember=True)
    kept = list(chat.conversation.token_ids)
    message = {"role": "user", "content": f"{LINES[0]}Why?"}
    asked = encode_prompt(tokenizer, [message], [6]).token_ids
    assert kept[: len(asked)] == asked
    assert tokenizer.decode(kept[len(asked) :]).strip() == first
    assert kept[-2:] == [special_ids(tokenizer).turn_end, *tokenizer.encode("\n").ids]
    chat.show(LINES[1], shown[1:])
    second = chat.ask("And now?", max_new_tokens=6)
    later = encode_prompt(tokenizer, [{"role": "user", "content": f"{LINES[1]}And now?"}], [6]).token_ids
    prompt = Prompt(token_ids=kept + later, patches=[patches for patches, _ in shown], grids=[GRID] * 2)
    (answer,) = generate(model, [prompt], max_new_tokens=6, stop_ids=())
    assert second == tokenizer.decode(answer).strip()
    length = chat.conversation.num_tokens
    assert chat.ask("And now?", max_new_tokens=6) == second
    assert chat.conversation.num_tokens == length


def test_what_does_not_fit_leaves_the_chat_as_it_was(model: NeoModel, tokenizer: Tokenizer) -> None:
    chat, shown = LiveChat(model, tokenizer, max_tokens=60), frames(2)
    chat.show(LINES[0], shown[:1])
    with pytest.raises(ConversationError):
        chat.show(LINES[1], [])
    with pytest.raises(CacheFullError, match="at most 60"):
        chat.show("".join(LINES[1:3]), shown)
    message = {"role": "user", "content": f"{LINES[0]}Why?"}
    assert chat.ask("Why?", max_new_tokens=6) == whole_answer(model, tokenizer, [message], shown[:1])


def test_a_chat_without_pictures(model: NeoModel, tokenizer: Tokenizer) -> None:
    assert LiveChat(model, tokenizer).ask("Why?", max_new_tokens=6) == whole_answer(
        model, tokenizer, [{"role": "user", "content": "Why?"}], []
    )
