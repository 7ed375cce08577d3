"""What the network promises: who sees whom, what a dummy image does, what starts where, what trains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from neo_model.attention.interface import Backend
from neo_model.inputs.batch import Batch, ensure_image
from neo_model.inputs.pictures import normalise
from neo_model.model import NeoModel
from tests.neo_model.tiny import lively_model, row, tiny_config


def moved_by(model: NeoModel, batch: Batch, changed: Batch) -> list[int]:
    """Positions whose logits differ."""
    with torch.no_grad():
        difference = (model.logits(batch) - model.logits(changed)).abs().amax(dim=1)
    return torch.flatten(difference > 1e-6).nonzero().flatten().tolist()


def with_word(batch: Batch, position: int) -> Batch:
    ids = batch.input_ids.clone()
    ids[position] = (ids[position] + 1) % 80
    return replace(batch, input_ids=ids)


def with_patch(batch: Batch, number: int) -> Batch:
    patches = batch.patches.clone()
    patches[number] += 1.0
    return replace(batch, patches=patches)


@pytest.mark.parametrize("backend", [Backend.SDPA, Backend.FLASH])
def test_who_sees_whom(backend: Backend) -> None:
    model = lively_model(tiny_config(), backend=backend)
    batch = row([2, (4, 4), 3, (2, 4), 2], [1, (2, 2), 2])
    # words 0-1, <img> 2, image 3-6, </img> 7, words 8-10, <img> 11, image 12-13, </img> 14, words 15-16; document 17-22
    first, second = list(range(17)), list(range(17, 23))
    assert moved_by(model, batch, with_word(batch, 1)) == first[1:]
    assert moved_by(model, batch, with_word(batch, 9)) == first[9:]
    assert moved_by(model, batch, with_word(batch, 16)) == [16]
    assert moved_by(model, batch, with_patch(batch, 15)) == first[3:], "the last patch moves the whole image before it"
    assert moved_by(model, batch, with_patch(batch, 16)) == first[12:], "an image never moves an earlier one"
    assert moved_by(model, batch, with_word(batch, 17)) == second
    assert moved_by(model, batch, with_patch(batch, 24)) == second[2:]


def test_packing_changes_nothing() -> None:
    """A document alone, first or last in a row has the same logits."""
    model = lively_model(tiny_config(tied=True))
    together = row([3, (4, 4), 5], [(2, 6), 4], [7])
    with torch.no_grad():
        logits = model.logits(together)
        for number, (begin, end) in enumerate(zip(together.documents[:-1], together.documents[1:], strict=True)):
            alone = _only(together, number, int(begin), int(end))
            torch.testing.assert_close(model.logits(alone), logits[begin:end], atol=2e-5, rtol=1e-5)


def _only(batch: Batch, number: int, begin: int, end: int) -> Batch:
    inside = [index for index, (start, _) in enumerate(batch.image_spans.tolist()) if begin <= start < end]
    sizes = (batch.grids[:, 0] * batch.grids[:, 1]).tolist()
    first = sum(sizes[: inside[0]]) if inside else 0
    taken = slice(first, first + sum(sizes[index] for index in inside))
    spans = batch.image_spans[inside] - begin
    context = [torch.arange(start, stop) for start, stop in spans.tolist()]
    return replace(
        batch,
        input_ids=batch.input_ids[begin:end],
        positions=batch.positions[begin:end],
        documents=torch.tensor([0, end - begin]),
        image_spans=spans,
        grids=batch.grids[inside],
        patches=batch.patches[taken],
        patch_positions=batch.patch_positions[taken],
        context_index=torch.cat([torch.zeros(0, dtype=torch.int64), *context]),
    )


def test_a_dummy_image_changes_nothing_and_touches_everything() -> None:
    model = lively_model(tiny_config())
    batch = row([9], [6])
    plain = model(batch)
    plain.loss.backward()
    wanted = {
        name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None
    }
    model.zero_grad()
    helped = model(ensure_image(batch))
    helped.loss.backward()
    assert torch.equal(plain.loss, helped.loss)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if name in wanted:
            assert torch.equal(parameter.grad, wanted[name]), name
        else:
            assert name.startswith("vision_model.")
            assert not parameter.grad.any(), name


def test_the_loss_is_the_weighted_cross_entropy_of_the_logits() -> None:
    model = lively_model(tiny_config())
    batch = row([4, (4, 4), 6], [5])
    entropies = torch.nn.functional.cross_entropy(model.logits(batch), batch.targets, reduction="none")
    result = model(batch)
    torch.testing.assert_close(result.loss, (entropies * batch.weights).sum())
    torch.testing.assert_close(result.weight, batch.weights.sum())
    torch.testing.assert_close(result.entropies, entropies[batch.supervised_index])


@pytest.mark.parametrize("tied", [True, False])
def test_activation_checkpointing_gives_the_same_gradients(tied: bool) -> None:
    batch = row([4, (4, 4), 6], [5])
    gradients = []
    for checkpointing in (False, True):
        model = lively_model(tiny_config(tied=tied), activation_checkpointing=checkpointing)
        model(batch).loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))  # type: ignore[arg-type]


def test_raw_pixels_are_normalised_by_the_model() -> None:
    model = lively_model(tiny_config())
    batch = row([2, (4, 6), 2])
    raw = np.random.default_rng(0).integers(0, 256, (24, 768)).astype(np.uint8)
    tokens = [
        model.image_tokens(replace(batch, patches=torch.from_numpy(patches))) for patches in (raw, normalise(raw))
    ]
    torch.testing.assert_close(tokens[0], tokens[1])


def test_a_row_of_nothing_supervised_has_no_loss_and_no_gradient() -> None:
    model = lively_model(tiny_config())
    batch = row([5])
    silent = replace(
        batch, targets=torch.full_like(batch.targets, -100), weights=batch.weights * 0,
        supervised_index=torch.zeros(0, dtype=torch.int64),
    )  # fmt: skip
    result = model(silent)
    result.loss.backward()
    assert result.loss == 0
    assert result.weight == 0


def test_initialisation_follows_the_table() -> None:
    torch.manual_seed(0)
    config = tiny_config(hidden=128, head_dim=32, num_prebuffer_layers=2, num_layers=4, ffn=256)
    parameters = dict(NeoModel(config).named_parameters())
    for name, parameter in parameters.items():
        layer = int(name.split(".")[3]) if ".layers." in name else -1
        if "norm" in name:
            assert bool((parameter == 1).all()), name
        elif name.endswith("k_proj_hw.weight") and layer >= 2:
            assert not parameter.any(), name
        elif not name.startswith("vision_model."):
            assert abs(parameter.std().item() - 0.02) < 0.002, name
    queries = parameters["language_model.model.layers.3.self_attn.q_proj.weight"].view(4, 4, 8, 128)
    new = parameters["language_model.model.layers.3.self_attn.q_proj_hw.weight"].view(4, 2, 2, 8, 128)
    for head in range(4):
        for axis in range(2):
            assert torch.equal(new[head, axis, 0], queries[head, 0])
            assert torch.equal(new[head, axis, 1], queries[head, 2])


def test_bfloat16_stays_within_its_own_rounding() -> None:
    config = tiny_config(hidden=64)
    model = NeoModel(config)
    batch = row([4, (4, 4), 6], [5])
    full, half = model(batch), lively_copy(model)(batch.to("cpu", torch.bfloat16))
    assert half.loss.dtype == torch.float32
    torch.testing.assert_close(half.loss, full.loss, atol=0.0, rtol=0.01)


def lively_copy(model: NeoModel) -> NeoModel:
    copy = NeoModel(model.config)
    copy.load_state_dict(model.state_dict())
    return copy.to(torch.bfloat16)


def test_parameter_names_are_the_released_names() -> None:
    names = set(NeoModel(tiny_config(tied=True)).state_dict())
    assert "language_model.lm_head.weight" not in names
    assert "language_model.lm_head.weight" in NeoModel(tiny_config()).state_dict()
    assert {"vision_model.embeddings.patch_embedding.weight", "language_model.model.norm.weight"} < names
