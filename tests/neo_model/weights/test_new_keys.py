"""The height and width keys of a language model start so that it stays the model it was while they learn."""

from __future__ import annotations

import torch

from neo_model.model import NeoModel
from neo_model.weights.partition import freeze_for_stage1
from tests.neo_model.tiny import row, tiny_config
from tests.neo_model.weights.drawn_whole import init_hw_with_zero_gain

TEXT = row([24], [30], seed=5)
CONFIG = tiny_config(hidden=64, head_dim=32, num_prebuffer_layers=1, num_layers=5)


def converted(*, gently: bool) -> NeoModel:
    """A language model as it comes out of the conversion, its weights large enough to say something."""
    torch.manual_seed(0)
    model = NeoModel(CONFIG)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2 and not name.endswith("k_proj_hw.weight"):
                parameter.mul_(4)
        for layer in model.layers[1:]:
            layer.self_attn.inherit_hw_from_t()
    if gently:
        init_hw_with_zero_gain(model)
    freeze_for_stage1(model)
    return model


def new_keys(model: NeoModel) -> list[torch.nn.Parameter]:
    modules = [
        module
        for layer in model.layers[1:]
        for module in (layer.self_attn.k_proj_hw, layer.self_attn.k_norm_h, layer.self_attn.k_norm_w)
    ]
    return [parameter for module in modules for parameter in module.parameters()]


def share_of_gradient(model: NeoModel) -> float:
    """Norm of the new keys' gradient over that of all."""
    model(row([3, (8, 6), 9], [(4, 4), 12], seed=1)).loss.backward()
    norms = [
        torch.cat([parameter.grad.flatten() for parameter in group if parameter.grad is not None]).norm()
        for group in (new_keys(model), list(model.parameters()))
    ]
    return float(norms[0] / norms[1])


def text_loss(model: NeoModel) -> float:
    with torch.no_grad():
        total = model(TEXT)
    return float(total.loss / total.weight)


def drift(model: NeoModel) -> float:
    """How far the loss on text goes from where it was, at the most, while the new keys alone learn for 20 steps."""
    began = text_loss(model)
    optimizer = torch.optim.AdamW(new_keys(model), lr=8e-4)
    farthest = 0.0
    for step in range(20):
        optimizer.zero_grad()
        total = model(row([3, (8, 6), 9], [(4, 4), 12], seed=step))
        (total.loss / total.weight).backward()
        torch.nn.utils.clip_grad_norm_(new_keys(model), 1.0)
        optimizer.step()
        farthest = max(farthest, abs(text_loss(model) - began))
    return farthest


def test_the_language_model_computes_what_it_did() -> None:
    assert torch.equal(converted(gently=True).logits(TEXT), converted(gently=False).logits(TEXT))


def test_new_keys_do_not_drown_the_other_gradients() -> None:
    assert share_of_gradient(converted(gently=False)) > 0.99, "the trap of zero keys in front of a norm"
    assert share_of_gradient(converted(gently=True)) < 0.05


def test_the_loss_on_text_stays_where_it_was() -> None:
    assert drift(converted(gently=False)) > 0.1, "the trap of zero keys in front of a norm"
    assert drift(converted(gently=True)) < 0.002
