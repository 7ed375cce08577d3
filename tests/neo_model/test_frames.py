"""Frames of a clip in the network: T grows by frame, H and W begin again, frames are causal and whole inside."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from neo_model.attention.interface import Backend
from neo_model.inputs.batch import Batch, Document, Weighting, pack
from neo_model.inputs.conversation import encode_captioned, special_ids
from neo_model.inputs.positions import image_spans
from neo_model.inputs.video_text import VideoStyle, clip_lines
from neo_model.model import NeoModel
from neo_model.reference import MAX_LOGIT, read_batch
from neo_model.weights.released import read_config, read_tensors
from tests.neo_model.tiny import lively_model, tiny_config
from tests.worlds.colour_world import tiny_tokenizer

GOLDEN = Path(__file__).parents[1] / "golden_model" / "base_untied"
FILM_LIKE = 3
"""The recorded document with four images of one size and text between them, as a clip has it."""
GRID = (4, 6)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    made: Tokenizer = tiny_tokenizer()
    return made


def clip_batch(
    tokenizer: Tokenizer,
    num_frames: int = 3,
    brighter: tuple[int, int] | None = None,
    style: VideoStyle = "timestamps",
) -> Batch:
    """A captioned clip of frames of 2 x 3 tokens; one patch of one frame may be brighter."""
    lines = clip_lines(range(num_frames), 3.0, style)
    encoded = encode_captioned(tokenizer, lines, "a red square", [6] * num_frames)
    rng = np.random.default_rng(0)
    patches = [rng.normal(size=(24, 768)).astype(np.float32) for _ in range(num_frames)]
    if brighter is not None:
        frame, patch = brighter
        patches[frame][patch] += 1.0
    clip = Document(token_ids=encoded.token_ids, supervised=encoded.supervised, grids=[GRID] * num_frames)
    context = special_ids(tokenizer).image_context
    return pack([clip], patches, image_context_id=context, weighting=Weighting.SQUARE)


def model_for(tokenizer: Tokenizer, **options: object) -> NeoModel:
    ids = special_ids(tokenizer)
    special = {"image_start_id": ids.image_start, "image_context_id": ids.image_context, "image_end_id": ids.image_end}
    return lively_model(tiny_config(vocab_size=352, **special), **options)


def test_a_frame_takes_one_step_of_t_and_begins_at_the_corner(tokenizer: Tokenizer) -> None:
    batch = clip_batch(tokenizer)
    spans, t = batch.image_spans.tolist(), batch.positions[:, 0].tolist()
    for start, end in spans:
        assert set(t[start:end]) == {t[start - 1] + 1}, "all patches share the step after <img>"
        assert t[end] == t[start] + 1, "</img>"
        assert batch.positions[start:end, 1:].tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    steps = np.diff([t[start] for start, _ in spans]).tolist()
    text_between = [begin - end for (_, end), (begin, _) in pairwise(spans)]
    assert steps == [num_tokens + 1 for num_tokens in text_between], "a frame is one step, whatever its size"
    assert t == sorted(t)


@pytest.mark.parametrize("backend", [Backend.SDPA, Backend.FLASH])
def test_a_frame_is_seen_whole_by_itself_and_by_what_follows_and_never_before(
    tokenizer: Tokenizer, backend: Backend
) -> None:
    """The last patch of the second frame changes the first patch of that frame, and no token before it."""
    model = model_for(tokenizer, backend=backend)
    batch = clip_batch(tokenizer)
    start, end = batch.image_spans[1].tolist()
    with torch.no_grad():
        before = model.final_states(batch)
        after = model.final_states(clip_batch(tokenizer, brighter=(1, 23)))
    changed = (before - after).abs().amax(dim=-1) > 1e-5
    assert not changed[:start].any(), "the first frame, the text, and <img> do not see it"
    assert changed[start:end].all(), "the frame sees all of itself"
    assert changed[end:].all(), "later text and the third frame see it"


def test_another_frame_leaves_all_before_it_as_it_was(tokenizer: Tokenizer) -> None:
    """Without the line that tells the number of frames, three frames begin as two do."""
    model = model_for(tokenizer)
    two, three = (clip_batch(tokenizer, number, style="bare") for number in (2, 3))
    until = int(two.image_spans[1, 1]) + 1
    with torch.no_grad():
        short, long = model.final_states(two)[:until], model.final_states(three)[:until]
    assert torch.allclose(short, long, atol=1e-5)


@pytest.mark.parametrize("num_frames", [1, 2, 3, 4])
def test_so_many_frames_alone_have_the_released_numbers(num_frames: int) -> None:
    """The recorded row holds four frames behind other documents; what ends after fewer has the same logits."""
    config = read_config(GOLDEN)
    inputs, outputs = load_file(GOLDEN / "inputs.safetensors"), load_file(GOLDEN / "outputs.safetensors")
    first, last = inputs["seq_boundaries"][FILM_LIKE : FILM_LIKE + 2].tolist()
    spans = image_spans(inputs["input_ids"].astype(np.int64), config.image_context_id)
    mine = [number for number, (start, _) in enumerate(spans.tolist()) if first <= start < last][:num_frames]
    assert len(mine) == num_frames
    until = int(spans[mine[-1], 1]) + 1
    ends = np.cumsum([grid_h * grid_w for grid_h, grid_w in inputs["grid_hw"].tolist()])
    alone = {name: inputs[name][first:until] for name in ("input_ids", "labels", "loss_weight")}
    alone |= {"grid_hw": inputs["grid_hw"][mine], "seq_boundaries": np.array([0, until - first])}
    alone["pixel_values"] = inputs["pixel_values"][ends[mine[0] - 1] : ends[mine[-1]]]
    batch = read_batch(alone, config)
    assert batch is not None
    assert batch.positions.tolist() == inputs["indexes_thw"][first:until].tolist()
    model = NeoModel(config)
    model.load_state_dict(read_tensors(GOLDEN))
    recorded = torch.from_numpy(outputs["logits"][first:until])
    assert float((model.logits(batch) - recorded).detach().abs().max()) <= MAX_LOGIT
