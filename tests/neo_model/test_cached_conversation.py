"""A conversation that grows gives the logits and the answers of one forward over all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor

from neo_model import cached_conversation
from neo_model.cached_conversation import CachedConversation, CacheFullError
from neo_model.generate import Prompt, generate
from neo_model.inputs.batch import pack
from neo_model.inputs.positions import ImageMismatchError
from neo_model.model import NeoModel
from neo_model.reference import MAX_LOGIT, read_batch
from neo_model.sampling import Sampling
from neo_model.weights.released import load_model, read_config
from tests.neo_model.test_generate import STOPS, prompts
from tests.neo_model.tiny import CONTEXT, END, START, lively_model, tiny_config

GOLDEN = Path(__file__).parents[1] / "golden_model"
QUESTION = Prompt(token_ids=[5, 6, 7])


def film(num_frames: int, seed: int = 0, grid: tuple[int, int] = (4, 6)) -> list[Prompt]:
    """Frames as they are written: some words of time, the frame, an end of line."""
    rng = np.random.default_rng(seed)
    tokens = [START, *[CONTEXT] * (grid[0] * grid[1] // 4), END]
    return [
        Prompt(
            token_ids=[*rng.integers(1, 80, 4).tolist(), *tokens, 3],
            patches=[rng.normal(size=(grid[0] * grid[1], 768)).astype(np.float32)],
            grids=[grid],
        )
        for _ in range(num_frames)
    ]


def joined(parts: list[Prompt]) -> Prompt:
    return Prompt(
        token_ids=[token for part in parts for token in part.token_ids],
        patches=[image for part in parts for image in part.patches],
        grids=[grid for part in parts for grid in part.grids],
    )


def whole_logits(model: NeoModel, prompt: Prompt) -> Tensor:
    """[L, V] of one forward over the whole sequence."""
    with torch.no_grad():
        return model.logits(pack([prompt.document()], prompt.patches, image_context_id=CONTEXT))


def assert_close(ours: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("heads", [{}, {"tied": True}, {"num_kv_heads": 4}, {"num_heads": 6, "num_kv_heads": 1}])
@pytest.mark.parametrize("max_forward", [2_048, 8, 3])
def test_logits_are_those_of_one_forward(
    heads: dict[str, object], max_forward: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_conversation, "MAX_FORWARD_TOKENS", max_forward)
    monkeypatch.setattr(cached_conversation, "MIN_SLOTS", 5)
    model = lively_model(tiny_config(**heads))
    parts = [*prompts(4, seed=3), *film(3), *prompts(3, seed=4)]
    expected = whole_logits(model, joined(parts))
    conversation = CachedConversation(model)
    for part in parts:
        conversation.append(part)
        assert_close(conversation.next_logits(), expected[conversation.num_tokens - 1])
    assert conversation.token_ids == tuple(joined(parts).token_ids)


def test_answers_at_any_moment_are_those_of_generate() -> None:
    model = lively_model(tiny_config())
    conversation, so_far, answers = CachedConversation(model), [], []
    sampling = Sampling(seed=3, temperature=0.8, top_k=20, repetition_penalty=1.2)
    for frame in film(12, seed=1):
        conversation.append(frame)
        so_far.append(frame)
        for drawn in (None, sampling):
            options = {"max_new_tokens": 6, "stop_ids": STOPS, "sampling": drawn}
            answers.append(conversation.ask(QUESTION, **options))  # type: ignore[arg-type]
            assert [answers[-1]] == generate(model, [joined([*so_far, QUESTION])], **options)  # type: ignore[arg-type]
    assert len({tuple(answer) for answer in answers}) > 3, "the answers depend on the frames"


def test_a_question_is_forgotten_or_kept_with_its_answer() -> None:
    model = lively_model(tiny_config())
    first, second, third = film(3, seed=2)
    conversation = CachedConversation(model)
    conversation.append(first)
    conversation.ask(QUESTION, max_new_tokens=5, stop_ids=[])
    conversation.append(second)
    assert conversation.token_ids == (*first.token_ids, *second.token_ids)
    assert_close(conversation.next_logits(), whole_logits(model, joined([first, second]))[-1])
    for stop_ids in ([], STOPS, range(96)):  # at the limit, perhaps at a stop, at once
        answer = conversation.ask(QUESTION, max_new_tokens=5, stop_ids=stop_ids, closing_ids=[8, 9])
        assert conversation.token_ids[-len(answer) - 5 :] == (*QUESTION.token_ids, *answer, 8, 9)
    conversation.append(third)
    text = list(conversation.token_ids)
    whole = Prompt(token_ids=text, patches=joined([first, second, third]).patches, grids=[(4, 6)] * 3)
    assert_close(conversation.next_logits(), whole_logits(model, whole)[-1])


def test_what_is_rolled_back_leaves_nothing() -> None:
    model = lively_model(tiny_config())
    conversation = CachedConversation(model)
    with conversation.rolled_back():
        conversation.append(QUESTION)
    assert conversation.num_tokens == 0
    with pytest.raises(ValueError, match="empty"):
        conversation.next_logits()
    first, second, third = film(3, seed=5)
    conversation.append(first)
    with conversation.rolled_back():
        conversation.append(second)
        with conversation.rolled_back():
            conversation.append(third)
        conversation.append(QUESTION)
    conversation.append(third)
    assert_close(conversation.next_logits(), whole_logits(model, joined([first, third]))[-1])


def test_the_limit_is_said_with_its_counts_and_changes_nothing() -> None:
    model = lively_model(tiny_config())
    frames = film(2)
    length = len(frames[0].token_ids)
    conversation = CachedConversation(model, max_tokens=length + 4)
    conversation.append(frames[0])
    logits = conversation.next_logits()
    message = rf"13 tokens more than the 13 .* are 26; its cache holds at most 17, of {3 * 2 * 48 * 4:,} bytes each"
    with pytest.raises(CacheFullError, match=message):
        conversation.append(frames[1])
    with pytest.raises(CacheFullError, match="1 tokens more than the 17"):
        conversation.ask(QUESTION, max_new_tokens=9, stop_ids=[])
    assert conversation.token_ids == tuple(frames[0].token_ids)
    assert torch.equal(conversation.next_logits(), logits)
    assert conversation.num_bytes == 17 * conversation.bytes_per_token


def test_the_cache_grows_by_doubling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached_conversation, "MIN_SLOTS", 4)
    conversation = CachedConversation(lively_model(tiny_config()), max_tokens=100)
    sizes = []
    for _ in range(40):
        conversation.append(Prompt(token_ids=[7, 8]))
        sizes.append(conversation.num_bytes // conversation.bytes_per_token)
    assert sorted(set(sizes)) == [4, 8, 16, 32, 64, 100]


def test_images_and_tokens_that_disagree_are_refused_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached_conversation, "MAX_FORWARD_TOKENS", 4)
    model = lively_model(tiny_config())
    conversation = CachedConversation(model)
    frame = film(1)[0]
    conversation.append(frame)
    for wrong in (
        Prompt(token_ids=frame.token_ids),
        Prompt(token_ids=frame.token_ids, patches=frame.patches, grids=[(2, 2)]),
        Prompt(token_ids=frame.token_ids, patches=(), grids=frame.grids),
        Prompt(token_ids=frame.token_ids, patches=[frame.patches[0][:3]], grids=frame.grids),
    ):
        with pytest.raises(ValueError, match=r"image|patches"):
            conversation.append(wrong)
        assert conversation.token_ids == tuple(frame.token_ids)
    with_image = {"patches": frame.patches, "grids": frame.grids}
    conversation.append(Prompt(token_ids=frame.token_ids[:11], **with_image))  # type: ignore[arg-type]
    with pytest.raises(ImageMismatchError, match="directly after another"):
        conversation.append(Prompt(token_ids=frame.token_ids[5:], **with_image))  # type: ignore[arg-type]


def test_nothing_appended_is_nothing() -> None:
    conversation = CachedConversation(lively_model(tiny_config()))
    conversation.append(Prompt(token_ids=[]))
    assert conversation.num_tokens == 0


def golden_documents() -> Iterator[tuple[NeoModel, Prompt, Tensor]]:
    """The documents of recorded rows, with the logits of the released code."""
    for folder in (GOLDEN / "base_untied", GOLDEN / "tied_small"):
        inputs = load_file(folder / "inputs.safetensors")
        row = read_batch(inputs, read_config(folder))
        assert row is not None
        model = load_model(folder)
        logits = torch.from_numpy(load_file(folder / "outputs.safetensors")["logits"]).reshape(row.num_tokens, -1)
        ends = np.cumsum([grid_h * grid_w for grid_h, grid_w in inputs["grid_hw"]])
        patches = np.split(inputs["pixel_values"], ends[:-1])
        for start, stop in zip(row.documents[:-1].tolist(), row.documents[1:].tolist(), strict=True):
            own = [number for number, (first, _) in enumerate(row.image_spans.tolist()) if start <= first < stop]
            grids = [(int(height), int(width)) for height, width in row.grids[own].tolist()]
            document = Prompt(
                token_ids=row.input_ids[start:stop].tolist(), patches=[patches[number] for number in own], grids=grids
            )
            yield model, document, logits[start:stop]


def test_positions_and_mask_are_those_of_the_released_code() -> None:
    """Recorded rows with several images, appended piece by piece: text one token at a time, images whole."""
    num_images = 0
    for model, document, recorded in golden_documents():
        conversation = CachedConversation(model)
        images = iter(zip(document.patches, document.grids, strict=True))
        context_id, start = model.config.image_context_id, 0
        while start < len(document.token_ids):
            stop, pictures = start + 1, []
            if document.token_ids[start] == context_id:
                pictures = [next(images)]
                stop = start + pictures[0][1][0] * pictures[0][1][1] // 4
                num_images += 1
            conversation.append(
                Prompt(
                    token_ids=document.token_ids[start:stop],
                    patches=[patches for patches, _ in pictures],
                    grids=[grid for _, grid in pictures],
                )
            )
            assert float((conversation.next_logits() - recorded[stop - 1]).abs().max()) <= MAX_LOGIT
            start = stop
    assert num_images > 4
