"""A chat about a film answers as if it had just read the film so far, and continues without the question."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from neo_model.cached_conversation import CacheFullError
from neo_model.generate import Prompt, generate
from neo_model.inputs.batch import Document, pack
from neo_model.inputs.conversation import ConversationError, encode_prompt, special_ids
from neo_model.inputs.video_text import frame_time
from neo_model.live_chat import LiveChat, PatchedImage
from neo_model.model import NeoModel
from tests.neo_model.tiny import lively_model, slow_attention, tiny_config
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


def attention_by_hand(model: NeoModel, token_ids: list[int], images: list[PatchedImage], query: int) -> torch.Tensor:
    """[query + 1] shares of one query in float64, key by key, the mean over all heads of all layers."""
    document = Document(token_ids=token_ids, supervised=[False] * len(token_ids), grids=[grid for _, grid in images])
    batch = pack([document], [patches for patches, _ in images], image_context_id=model.config.image_context_id)
    config, hidden = model.config, model.embed(batch)
    tables = model.rotary_tables(batch.positions, hidden.dtype)
    of_layers = []
    for layer in model.layers:
        q, k, v = layer.before_attention(hidden, tables)
        of_heads = []
        for head in range(config.num_heads):
            group = head * config.num_kv_heads // config.num_heads
            dots = [float(q[query, head].double() @ k[key, group].double()) for key in range(query + 1)]
            powers = [math.exp((dot - max(dots)) / math.sqrt(config.head_dim)) for dot in dots]
            of_heads.append([power / sum(powers) for power in powers])
        of_layers.append(torch.tensor(of_heads).mean(dim=0))
        hidden = layer.after_attention(hidden, slow_attention(batch, q, k, v).float())
    return torch.stack(of_layers).mean(dim=0)


@pytest.mark.parametrize("remember", [False, True])
@torch.no_grad()
def test_the_attention_of_an_answer_is_that_of_a_whole_forward(
    model: NeoModel, tokenizer: Tokenizer, remember: bool
) -> None:
    """Two pictures, one question before; each token of the answer is chosen by the token before it."""
    chat, images = LiveChat(model, tokenizer), frames(2)
    chat.show("<image>\n", images[:1])
    chat.ask("What colour is it?", max_new_tokens=2)
    chat.show("<image>\n", images[1:])
    watched = chat.ask_watched("Why?", max_new_tokens=4, remember=remember)
    messages = [{"role": "user", "content": "<image>\n<image>\nWhy?"}]
    asked = encode_prompt(tokenizer, messages, [6, 6])
    ids = special_ids(tokenizer)
    prompt = Prompt(token_ids=asked.token_ids, patches=[one for one, _ in images], grids=[GRID] * 2)
    (answer,) = generate(model, [prompt], max_new_tokens=4, stop_ids=[ids.turn_end, ids.end_of_text])
    assert watched.text == tokenizer.decode(answer).strip() and len(answer) > 1
    assert [one.shape for one in watched.maps] == [(len(answer), 2, 3)] * 2
    for number in range(len(answer)):
        shares = attention_by_hand(model, [*asked.token_ids, *answer], images, len(asked.token_ids) - 1 + number)
        for start, heat in zip(asked.image_starts, watched.maps, strict=True):
            assert torch.allclose(torch.from_numpy(heat[number]).flatten(), shares[start : start + 6], atol=1e-5)
        assert 0.001 < float(sum(heat[number].sum() for heat in watched.maps)) < 0.999
    assert chat.ask("Why?", max_new_tokens=3) and not chat.conversation._recorded
