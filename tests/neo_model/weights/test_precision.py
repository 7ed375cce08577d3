"""Tensors of several precisions get one that rounds none of them."""

from __future__ import annotations

import pytest
import torch

from neo_model.weights.precision import common_dtype, dtype_name, unified

HALF, FULL = torch.bfloat16, torch.float32


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [((HALF, HALF), HALF), ((HALF, FULL), FULL), ((FULL, HALF), FULL), ((HALF, torch.float16), FULL)],
)
def test_nothing_is_rounded(dtypes: tuple[torch.dtype, ...], expected: torch.dtype) -> None:
    tensors = {str(number): torch.randn(50).to(dtype) for number, dtype in enumerate(dtypes)}
    assert common_dtype(tensors) == expected
    for name, tensor in unified(tensors).items():
        assert tensor.dtype == expected
        assert torch.equal(tensor.to(tensors[name].dtype), tensors[name])
        assert tensor is tensors[name] or tensors[name].dtype != expected


def test_nothing_has_no_precision() -> None:
    with pytest.raises(ValueError, match="no tensors"):
        common_dtype({})


def test_names_are_those_of_transformers() -> None:
    assert [dtype_name(dtype) for dtype in (HALF, FULL, torch.float16)] == ["bfloat16", "float32", "float16"]
