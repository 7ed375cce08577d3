"""The words of a layout become the settings of a network, and what a device does not suit is said."""

import os
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


def test_compiled_layers_are_off_under_zero_3_and_it_is_said() -> None:
    for zero_stage in (0, 1, 2):
        network, warnings = settings(GangLayout(compile_layers=True, zero_stage=zero_stage))
        assert network.regions is not None and network.is_compiled and warnings == []
    network, (warning,) = settings(GangLayout(compile_layers=True, zero_stage=3))
    assert network.regions is None
    assert warning.startswith("compile_layers is off: under ZeRO stage 3")
    assert settings(GangLayout())[0].regions is None


def test_a_deterministic_layout_asks_torch_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    fills = torch.utils.deterministic.fill_uninitialized_memory
    try:
        settings(GangLayout(deterministic=True))
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = fills
