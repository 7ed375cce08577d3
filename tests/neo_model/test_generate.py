"""Answers from the cache are those of whole forward passes, whoever shares the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neo_model.generate import Prompt, generate
from neo_model.inputs.batch import Document, pack
from neo_model.model import NeoModel
from neo_model.sampling import MIN_TEMPERATURE, Sampler, Sampling
from tests.neo_model.tiny import CONTEXT, END, START, lively_model, tiny_config

STOPS = [*range(0, 80, 9), CONTEXT, START, END]


def prompts(number: int, seed: int = 0) -> list[Prompt]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(number):
        ids, grids, patches = rng.integers(1, 80, rng.integers(1, 9)).tolist(), [], []
        for _ in range(rng.integers(0, 3)):
            grid = [(2, 2), (4, 2), (4, 6), (8, 4)][rng.integers(4)]
            count = grid[0] * grid[1]
            ids += [START, *[CONTEXT] * (count // 4), END, *rng.integers(1, 80, rng.integers(1, 5)).tolist()]
            grids.append(grid)
            patches.append(rng.normal(size=(count, 768)).astype(np.float32))
        made.append(Prompt(token_ids=ids, patches=patches, grids=grids))
    return made


def slow_answer(model: NeoModel, prompt: Prompt, max_new_tokens: int, stop_ids: list[int]) -> list[int]:
    """The whole sequence again for each token."""
    ids = list(prompt.token_ids)
    while len(ids) < len(prompt.token_ids) + max_new_tokens:
        document = Document(token_ids=ids, supervised=[False] * len(ids), grids=prompt.grids)
        with torch.no_grad():
            token = int(model.logits(pack([document], prompt.patches, image_context_id=CONTEXT))[-1].argmax())
        if token in stop_ids:
            break
        ids.append(token)
    return ids[len(prompt.token_ids) :]


@pytest.mark.parametrize("tied", [True, False])
def test_the_cache_changes_no_token(tied: bool) -> None:
    model = lively_model(tiny_config(tied=tied))
    asked = prompts(14)
    answers = generate(model, asked, max_new_tokens=7, stop_ids=STOPS)
    assert answers == [slow_answer(model, prompt, 7, STOPS) for prompt in asked]
    assert {len(answer) for answer in answers} > {7}, "some stop early, some do not"


def test_the_batch_changes_no_token() -> None:
    model = lively_model(tiny_config())
    asked = prompts(12, seed=1)
    sampling = Sampling(seed=5, temperature=0.8, top_k=30, top_p=0.95, repetition_penalty=1.1)
    for drawn in (None, sampling):
        one, many = (
            generate(model, asked, max_new_tokens=5, stop_ids=STOPS, sampling=drawn, max_cache_tokens=slots)
            for slots in (10_000, 40)
        )
        assert one == many


def test_no_prompts_no_answers() -> None:
    assert generate(lively_model(tiny_config()), [], max_new_tokens=5, stop_ids=[]) == []


def test_a_prompt_without_its_image_is_refused() -> None:
    with pytest.raises(ValueError, match="1 runs of image tokens for 0 images"):
        generate(lively_model(tiny_config()), [Prompt(token_ids=[START, CONTEXT, END])], max_new_tokens=1, stop_ids=[])


def drawn(sampling: Sampling, logits: list[float], seen: list[int], times: int = 400) -> set[int]:
    sampler = Sampler(sampling, range(times), [seen] * times)
    return set(sampler.choose(torch.tensor([logits] * times)))


def test_options_of_sampling_limit_what_is_drawn() -> None:
    logits = [2.0, 1.0, 0.0, -1.0]
    assert drawn(Sampling(seed=0), logits, []) == {0, 1, 2, 3}
    assert drawn(Sampling(seed=0, top_k=2), logits, []) == {0, 1}
    assert drawn(Sampling(seed=0, top_p=0.64), logits, []) == {0}
    assert drawn(Sampling(seed=0, top_p=0.65), logits, []) == {0, 1}
    assert drawn(Sampling(seed=0, temperature=0.01), logits, []) == {0}
    assert drawn(Sampling(seed=0, top_k=1, repetition_penalty=9.0), logits, [0]) == {1}
    assert drawn(Sampling(seed=0, top_k=3, repetition_penalty=9.0), [1.0, -0.1, 0.0, -0.2], [1, 1]) == {0, 2, 3}


def test_seed_and_number_both_decide_what_is_drawn() -> None:
    logits = torch.zeros(1, 1000)
    drawn_by = {
        (seed, number): Sampler(Sampling(seed=seed), [number], [[]]).choose(logits)[0]
        for seed in (0, 1, 2**31 - 1)
        for number in (0, 1, 2)
    }
    assert len(set(drawn_by.values())) > 7
    assert drawn_by[1, 2] == Sampler(Sampling(seed=1), [2], [[]]).choose(logits)[0]


def test_draws_follow_the_probabilities() -> None:
    sampler = Sampler(Sampling(seed=1), range(4000), [[]] * 4000)
    chosen = np.bincount(sampler.choose(torch.tensor([[0.6, 0.3, 0.1]]).log().expand(4000, 3)), minlength=3) / 4000
    assert np.abs(chosen - [0.6, 0.3, 0.1]).max() < 0.03


@pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"top_p": 0.9}, {"repetition_penalty": 0.01}])
def test_only_tokens_that_may_be_drawn_are_drawn_at_the_least_temperature(options: dict[str, float]) -> None:
    logits = [3e35, -3e38, *[3e35] * 3, -1e30]
    chosen = drawn(Sampling(seed=0, temperature=MIN_TEMPERATURE, **options), logits, [])  # type: ignore[arg-type]
    assert chosen <= {0, 2, 3, 4}


def test_a_draw_that_is_rounded_to_the_whole_is_the_last_token_that_may_be_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sampler = Sampler(Sampling(seed=0, top_k=2), [0], [[]])
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor(1.0))
    assert sampler.choose(torch.tensor([[1.0, 2.0, 0.0, 0.5]])) == [1]


def test_nonsense_is_refused() -> None:
    for wrong in (
        {"temperature": 0.0},
        {"temperature": 1e-38},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_k": -1},
        {"repetition_penalty": 0.0},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Sampling(seed=0, **wrong)


def test_ranks_that_would_answer_otherwise_take_the_tokens_that_are_agreed_on() -> None:
    """The answers, and the number of passes through the model, are those of the rank whose tokens all take."""
    asked = prompts(9, seed=2)
    said: list[list[int]] = []

    def speak(tokens: list[int]) -> list[int]:
        said.append(tokens)
        return tokens

    leading = generate(lively_model(tiny_config()), asked, max_new_tokens=6, stop_ids=STOPS, agree=speak)
    other = lively_model(tiny_config())
    with torch.no_grad():
        other.language_model.model.embed_tokens.weight.neg_()
    assert generate(other, asked, max_new_tokens=6, stop_ids=STOPS) != leading
    heard = iter(said)
    assert generate(other, asked, max_new_tokens=6, stop_ids=STOPS, agree=lambda _: next(heard)) == leading
    assert next(heard, None) is None


def test_a_small_cache_makes_batches_of_one_prompt_and_changes_no_token() -> None:
    model, asked = lively_model(tiny_config()), prompts(8, seed=4)
    expected = generate(model, asked, max_new_tokens=5, stop_ids=STOPS)
    assert generate(model, asked, max_new_tokens=5, stop_ids=STOPS, max_cache_tokens=1) == expected
