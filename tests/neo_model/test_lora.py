"""Adapters: an adapted model begins as its base, trains nothing else, and its merged weights compute what it does."""

from __future__ import annotations

import pytest
import torch

from neo_model.lora import AdaptedLinear, add_adapters, merged
from neo_model.model import NeoModel
from neo_model.parts import LINEAR_NAMES
from tests.neo_model.tiny import lively_model, row, tiny_config

RANK, ALPHA = 4, 6.0
BATCH = row([5, (4, 6), 7], [(8, 2), 3])


def all_maps(model: NeoModel) -> list[str]:
    return [
        f"language_model.model.{path}"
        for path, _ in model.language_model.model.named_modules()
        if path.rpartition(".")[2] in LINEAR_NAMES
    ]


def adapted_model(seed: int = 3) -> NeoModel:
    model = lively_model(tiny_config()).requires_grad_(False)
    add_adapters(model, all_maps(model), rank=RANK, alpha=ALPHA, seed=seed)
    return model


def stirred(model: NeoModel) -> NeoModel:
    """The model as after training: neither A nor B is what it was."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def test_the_names_of_recipes_are_those_of_the_maps_of_a_layer() -> None:
    from neo_model.layer import Linear

    found = {
        name.rpartition(".")[2] for name, one in lively_model(tiny_config()).named_modules() if type(one) is Linear
    }
    assert found == set(LINEAR_NAMES)


def test_an_adapted_model_begins_as_the_model_that_it_adapts() -> None:
    base, adapted = lively_model(tiny_config()), adapted_model()
    assert len(all_maps(base)) == len(LINEAR_NAMES) * base.config.num_layers
    assert torch.equal(base.logits(BATCH), adapted.logits(BATCH))
    trained = {name for name, one in adapted.named_parameters() if one.requires_grad}
    assert trained == {f"{name}.{half}" for name in all_maps(base) for half in ("lora_a", "lora_b")}
    assert dict(base.named_parameters()).keys() == dict(adapted.named_parameters()).keys() - trained


def test_a_is_drawn_by_seed_and_name_alone() -> None:
    one, again, other = adapted_model(), adapted_model(), adapted_model(seed=4)
    few = lively_model(tiny_config())
    name = all_maps(few)[-1]
    add_adapters(few, [name], rank=RANK, alpha=ALPHA, seed=3)
    drawn = [model.get_submodule(name).lora_a for model in (one, again, few, other)]
    assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[3])
    map_ = one.get_submodule(name)
    assert isinstance(map_, AdaptedLinear) and drawn[0].abs().max() <= map_.in_features**-0.5
    assert not map_.lora_b.any() and (map_.lora_a.dtype, map_.lora_a.shape) == (torch.float32, (4, map_.in_features))


def test_merged_weights_compute_what_the_adapted_model_does() -> None:
    model = stirred(adapted_model())
    originals = {name: value.detach() for name, value in lively_model(tiny_config()).named_parameters()}
    plain = lively_model(tiny_config(), seed=9)
    plain.load_state_dict(dict(merged(model.named_parameters(), originals, frozenset(), ALPHA / RANK)))
    assert not torch.allclose(model.logits(BATCH), lively_model(tiny_config()).logits(BATCH), atol=1e-2)
    torch.testing.assert_close(plain.logits(BATCH), model.logits(BATCH), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_sum_is_taken_in_fp32_and_rounded_once_and_all_else_is_the_original(dtype: torch.dtype) -> None:
    """Also where the model computed in another precision than its file has."""
    originals = {name: value.detach().to(dtype) for name, value in lively_model(tiny_config()).named_parameters()}
    model = stirred(adapted_model()).to(torch.bfloat16)
    trained = frozenset({"language_model.model.norm.weight"})
    names = [name for name, _ in merged(model.named_parameters(), originals, trained, ALPHA / RANK)]
    found = dict(merged(model.named_parameters(), originals, trained, ALPHA / RANK))
    assert names == list(originals), "each weight once, in the order of the model"
    values = dict(model.named_parameters())
    for name, original in originals.items():
        assert found[name].dtype == dtype
        if name in trained:
            assert torch.equal(found[name], values[name].detach().to(dtype))
        elif (path := name.removesuffix(".weight")) in set(all_maps(model)):
            a, b = (values[f"{path}.lora_{half}"].detach().float() for half in "ab")
            assert torch.equal(found[name], (original.float() + ALPHA / RANK * (b @ a)).to(dtype))
        else:
            assert torch.equal(found[name], original)


def test_an_adapter_of_an_adapter_and_of_a_table_are_refused() -> None:
    model = adapted_model()
    for name in (all_maps(model)[0], "language_model.model.embed_tokens"):
        with pytest.raises(AssertionError, match="cannot be adapted"):
            add_adapters(model, [name], rank=RANK, alpha=ALPHA, seed=0)
