"""The words of a layout become the settings of a network, and what a device does not suit is said."""

from typing import get_args

import pytest

from stages.contract import GangLayout


def settings(layout: GangLayout, precision: str = "bf16", device: str = "cpu"):
    """The network after `set_execution`, and the warnings."""
    import torch

    from neo_model.model import NeoModel
    from stages.training.engine.execution import set_execution
    from tests.stages.training.engine.test_engine import config

    with torch.device("meta"):
        network = NeoModel(config())
    warnings: list[str] = []
    set_execution(network, layout, precision, device, warnings.append)
    return network, warnings


@pytest.mark.parametrize(
    ("attention", "precision", "device", "expected"),
    [
        ("auto", "fp32", "cpu", "flash"),
        ("auto", "bf16", "cuda:0", "flash"),
        ("auto", "fp32", "cuda:0", "flex"),
        ("sdpa", "fp32", "cpu", "sdpa"),
        ("flex", "bf16", "cuda:0", "flex"),
    ],
)
def test_the_attention_that_runs(attention: str, precision: str, device: str, expected: str) -> None:
    network, warnings = settings(GangLayout(attention=attention), precision, device)
    assert (network.backend, warnings) == (expected, [])


def test_every_word_of_a_layout_is_known() -> None:
    from neo_model.attention.interface import Backend

    assert set(get_args(GangLayout.model_fields["attention"].annotation)) == {"auto", *Backend}


def test_dense_scores_on_a_gpu_are_warned_of() -> None:
    network, (warning,) = settings(GangLayout(attention="sdpa"), device="cuda:3")
    assert network.backend == "sdpa"
    assert warning.startswith('attention = "sdpa" holds 2 dense scores for each pair of tokens')
    assert 'set attention = "auto"' in warning


def test_recomputation_is_the_layouts() -> None:
    assert settings(GangLayout(activation_checkpointing=True))[0].activation_checkpointing
    assert not settings(GangLayout())[0].activation_checkpointing
