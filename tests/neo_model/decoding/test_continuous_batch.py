"""Whenever a prompt joins, and whoever is beside it, its answer is that of `generate`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from neo_model import key_value_cache
from neo_model.decoding.continuous_batch import BatchFullError, ContinuousBatch
from neo_model.generate import Prompt, generate
from neo_model.inputs.positions import ImageMismatchError
from neo_model.model import NeoModel
from neo_model.sampling import Sampler, Sampling
from tests.neo_model.test_generate import STOPS, prompts
from tests.neo_model.tiny import CONTEXT, END, START, lively_model, tiny_config

Key = tuple[int, int]


def answers_of(
    model: NeoModel,
    asked: list[Prompt],
    *,
    seed: int,
    max_new_tokens: int = 7,
    sampling: Sampling | None = None,
    num_answers: int = 1,
    max_cache_tokens: int = 10_000,
) -> dict[Key, list[int]]:
    """Answers of a batch that prompts join at random moments, as long as there is room."""
    rng = np.random.default_rng(seed)
    batch: ContinuousBatch[Key] = ContinuousBatch(model, max_cache_tokens=max_cache_tokens)
    answers: dict[Key, list[int]] = {}
    waiting = list(enumerate(asked))
    while waiting or batch.keys:
        while waiting and rng.random() < 0.5:
            number, prompt = waiting[0]
            if not batch.has_room(len(prompt.token_ids) + max_new_tokens, num_answers):
                assert batch.keys, "an empty batch has room for each of them"
                break
            keys = [(number, choice) for choice in range(num_answers)]
            batch.join(prompt, keys, max_new_tokens=max_new_tokens, sampling=sampling)
            answers |= {key: [] for key in keys}
            waiting.pop(0)
        assert batch.num_slots <= max_cache_tokens
        ended = set()
        for key, token in batch.choose():
            if token not in STOPS:
                answers[key].append(token)
            if token in STOPS or len(answers[key]) == max_new_tokens:
                ended.add(key)
        batch.leave(ended)
        batch.advance()
        assert batch.num_slots <= max_cache_tokens
    return answers


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("max_cache_tokens", [10_000, 90])
def test_no_token_depends_on_when_a_prompt_joins_or_on_what_is_beside_it(seed: int, max_cache_tokens: int) -> None:
    model, asked = lively_model(tiny_config()), prompts(14)
    together = generate(model, asked, max_new_tokens=7, stop_ids=STOPS)
    joined = answers_of(model, asked, seed=seed, max_cache_tokens=max_cache_tokens)
    assert [joined[number, 0] for number in range(14)] == together
    assert len({len(answer) for answer in together}) > 3, "they leave at different steps"


def test_sampled_answers_are_those_of_each_prompt_alone() -> None:
    model, asked = lively_model(tiny_config()), prompts(8, seed=1)
    sampling = Sampling(seed=5, temperature=0.8, top_k=30, top_p=0.95, repetition_penalty=1.1)
    joined = answers_of(model, asked, seed=0, sampling=sampling, num_answers=3)
    for number, prompt in enumerate(asked):
        alone = generate(model, [prompt] * 3, max_new_tokens=7, stop_ids=STOPS, sampling=sampling)
        assert [joined[number, choice] for choice in range(3)] == alone
    assert len({tuple(joined[0, choice]) for choice in range(3)}) > 1, "answers to one prompt differ"


def test_a_batch_gives_back_what_it_does_not_need() -> None:
    long, short = prompts(1)[0], Prompt(token_ids=[1, 2])
    batch: ContinuousBatch[str] = ContinuousBatch(lively_model(tiny_config()), max_cache_tokens=1000)
    batch.join(Prompt(token_ids=[*range(1, 70)] * 5), ["long"], max_new_tokens=20)
    batch.join(short, ["short"], max_new_tokens=20)
    assert batch.num_slots == 2 * 345
    batch.choose()
    batch.leave({"long"})
    assert batch.num_slots == 4 and batch.keys == ["short"]
    batch.leave({"short"})
    assert batch.num_slots == 0 and batch.choose() == []
    batch.advance()
    batch.join(long, ["again"], max_new_tokens=1)
    assert [key for key, _ in batch.choose()] == ["again"]


def test_without_room_nothing_joins() -> None:
    batch: ContinuousBatch[int] = ContinuousBatch(lively_model(tiny_config()), max_cache_tokens=40)
    assert batch.has_room(40) and not batch.has_room(41) and not batch.has_room(21, 2)
    batch.join(Prompt(token_ids=[1, 2]), [0], max_new_tokens=10)
    assert batch.has_room(20) and not batch.has_room(21)
    with pytest.raises(BatchFullError, match=r"2 x 20 tokens beside 1 sequences: the cache holds 40 slots"):
        batch.join(Prompt(token_ids=[1] * 10), [1, 2], max_new_tokens=10)
    with pytest.raises(ImageMismatchError):
        batch.join(Prompt(token_ids=[START, CONTEXT, END]), [1], max_new_tokens=1)
    assert batch.keys == [0]


@pytest.mark.parametrize("num_made", range(4))
def test_a_prompt_that_finds_no_memory_half_way_leaves_the_batch_as_it_was(
    monkeypatch: pytest.MonkeyPatch, num_made: int
) -> None:
    """Of the tensors of two layers, so many are joined before there is no memory for the next."""
    model, (first, second, third) = lively_model(tiny_config()), prompts(3)
    alone = answers_of(model, [first], seed=0)[0, 0]
    batch: ContinuousBatch[int] = ContinuousBatch(model)
    batch.join(first, [0], max_new_tokens=7)
    answer, joined, left = [], key_value_cache._joined, iter(range(num_made))

    def out_of_memory(stored: Tensor, added: Tensor, num_slots: int, num_copies: int) -> Tensor:
        if next(left, None) is None:
            raise torch.OutOfMemoryError("no memory")
        return joined(stored, added, num_slots, num_copies)

    for step in range(len(alone)):
        if step == 1:
            with monkeypatch.context() as patched, pytest.raises(torch.OutOfMemoryError):
                patched.setattr(key_value_cache, "_joined", out_of_memory)
                batch.join(second, [1, 2], max_new_tokens=60)
            assert batch.keys == [0]
        if step == 2:
            batch.join(third, [3], max_new_tokens=7)
        answer.append(dict(batch.choose())[0])
        batch.advance()
    assert answer == alone


def test_a_sequence_whose_sampler_fails_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (first, second, _) = lively_model(tiny_config()), prompts(3)
    batch: ContinuousBatch[str] = ContinuousBatch(model)
    batch.join(first, ["greedy"], max_new_tokens=7)
    batch.join(second, ["drawn"], max_new_tokens=7, sampling=Sampling(seed=1))

    def fail(sampler: Sampler, logits: Tensor) -> list[int]:
        raise ArithmeticError("no number")

    with monkeypatch.context() as patched:
        patched.setattr(Sampler, "choose", fail)
        assert [key for key, _ in batch.choose()] == ["greedy"]
    assert list(batch.failures) == ["drawn"] and "no number" in str(batch.failures["drawn"])
    batch.leave(batch.failures.keys())
    batch.advance()
    assert [key for key, _ in batch.choose()] == ["greedy"] and not batch.failures
