"""The recorded numbers hold with every backend that runs here, and a broken rule is noticed and named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from neo_model import model, patch_embedding, reference, rotary
from neo_model.attention.interface import Backend

GOLDEN = Path(__file__).parents[1] / "golden_model"


@pytest.mark.parametrize("backend", [Backend.SDPA, Backend.FLASH])
@pytest.mark.parametrize("case", ["base_untied", "tied_small", "tied_small_textonly"])
def test_the_released_numbers(case: str, backend: Backend) -> None:
    differences = list(reference.check_case(GOLDEN / case, backend))
    assert [str(found) for found in differences if not found.within] == []
    assert len(differences) > 20


@pytest.mark.parametrize("case", ["untied", "tied"])
def test_the_released_conversions(case: str) -> None:
    differences = list(reference.check_conversion(GOLDEN / "convert" / case))
    assert [str(found) for found in differences if not found.within] == []
    assert len(differences) > 15


def test_the_command_says_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main(["check", str(GOLDEN / "tied_small")]) == 0
    assert capsys.readouterr().out.endswith("all within fp32 rounding\n")
    broken = tmp_path / "tied_small"
    shutil.copytree(GOLDEN / "tied_small", broken)
    config = broken / "config.json"
    config.write_text(config.read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-04'))
    assert reference.main(["check", str(broken)]) == 1
    assert "first to differ: tied_small" in capsys.readouterr().out


def test_a_folder_may_be_named_from_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN / "tied_small_textonly")
    assert reference.main(["check", "."]) == 0


def test_what_cannot_be_compared_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main(["check", str(tmp_path)]) == 1
    assert "meta.json" in capsys.readouterr().err
    shutil.copytree(GOLDEN / "tied_small", tmp_path / "tied_small")
    tensors = load_file(tmp_path / "tied_small" / "model.safetensors")
    del tensors["language_model.model.norm.weight"]
    save_file(tensors, tmp_path / "tied_small" / "model.safetensors")
    assert reference.main(["check", str(tmp_path)]) == 1
    assert "1 missing: language_model.model.norm.weight" in capsys.readouterr().err
    assert reference.main(["check", str(GOLDEN / "tied_small"), "--backend", "flex"]) == 1
    assert "flex: FlexAttention cannot be trained on cpu" in capsys.readouterr().err


def _changed_bases(factor: float, name: str) -> Callable[..., object]:
    def changed(positions: Tensor, **settings: float) -> object:
        return rotary.rotary_tables(positions, **(settings | {name: settings[name] * factor}))  # type: ignore[arg-type]

    return changed


@pytest.mark.parametrize(
    ("where", "name", "wrong"),
    [
        (model, "rotary_tables", _changed_bases(100.0, "theta_hw")),
        (model, "rotary_tables", _changed_bases(0.01, "theta_t")),
        (patch_embedding, "rotate_patches", lambda x, at, theta: rotary.rotate_patches(x, at, theta / 10)),
        (patch_embedding, "rotate_patches", lambda x, at, theta: rotary.rotate_patches(x, at.flip(1), theta)),
        (patch_embedding, "rotate_patches", lambda x, at, theta: x + 0.0),
        (torch.nn.functional, "gelu", lambda x: 0.5 * x * (1 + torch.tanh(0.79788456 * (x + 0.044715 * x**3)))),
    ],
)
def test_a_broken_rule_is_noticed(
    monkeypatch: pytest.MonkeyPatch, where: object, name: str, wrong: Callable[..., object]
) -> None:
    monkeypatch.setattr(where, name, wrong)
    assert any(not found.within for found in reference.check_case(GOLDEN / "base_untied"))
