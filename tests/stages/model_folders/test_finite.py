"""One weight that is no number refuses a file by the name of its tensor, in each type, wherever it lies."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from stages.contract import StageError
from stages.model_folders import finite
from stages.model_folders.finite import check_finite

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
EXTREMES = {
    torch.float32: [3.4e38, -3.4e38, 1e-45, 0.0],
    torch.float16: [65504.0, -65504.0, 6e-8, -0.0],
    torch.bfloat16: [3.38e38, -3.38e38, 1e-40, 0.0],
}


def file_with(folder: Path, dtype: torch.dtype, *values: float) -> Path:
    drawn = torch.randn(1000, generator=torch.Generator().manual_seed(0)).to(dtype)
    odd = torch.cat([drawn, torch.tensor(EXTREMES[dtype] + list(values), dtype=torch.float64).to(dtype), drawn])
    save_file({"a.weight": drawn, "b.weight": odd}, folder / "model.safetensors")
    return folder / "model.safetensors"


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_and_smallest_numbers_are_taken(dtype: torch.dtype, tmp_path: Path) -> None:
    check_finite(file_with(tmp_path, dtype), allowed=(), what="source 'mine'")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("chunk_bytes", [16, finite.CHUNK_BYTES])
def test_one_of_them_is_found_and_its_tensor_named(
    dtype: torch.dtype, value: float, chunk_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finite, "CHUNK_BYTES", chunk_bytes)
    file = file_with(tmp_path, dtype, value)
    with pytest.raises(StageError, match=r"source 'mine': .*in b.weight \(1 of 2,005\).*allow_non_finite"):
        check_finite(file, allowed=(), what="source 'mine'")
    check_finite(file, allowed=("b.weight",), what="source 'mine'")
