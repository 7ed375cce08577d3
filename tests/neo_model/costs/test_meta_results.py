"""A second answer is the first one without its computation, and only where nothing is shared or written to."""

from typing import Any

import pytest
import torch
from torch import Tensor

from neo_model.costs.meta_results import MetaResults

ATEN = torch.ops.aten
WIDE = torch.empty(6, 4, device="meta", dtype=torch.bfloat16)
TURNED = torch.empty(4, 6, device="meta").t()


def answers(results: MetaResults, func: Any, *args: Any, **kwargs: Any) -> tuple[Any, list[bool]]:
    """The second answer, and which of two was known."""
    told = [results.call(func, args, kwargs) for _ in range(2)]
    return told[1][0], [is_new for _, is_new in told]


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (ATEN.mul.Tensor, (WIDE, WIDE)),
        (ATEN.mul.Tensor, (WIDE, TURNED)),
        (ATEN.mm.default, (WIDE, torch.empty(4, 3, device="meta", dtype=torch.bfloat16))),
        (ATEN.cat.default, ([WIDE, WIDE], 1)),
        (ATEN.sum.dim_IntList, (TURNED, [1], True)),
        (ATEN.native_layer_norm.default, (TURNED, [4], None, None, 1e-5)),
    ],
)
def test_a_second_answer_has_the_shape_of_the_first(func: Any, args: tuple[Any, ...]) -> None:
    made, known = answers(MetaResults(), func, *args)
    wanted = func(*args)
    assert known == [False, True]
    for one, other in zip(tensors(made), tensors(wanted), strict=True):
        assert (one.shape, one.stride(), one.dtype) == (other.shape, other.stride(), other.dtype)
        assert one.is_meta and one.untyped_storage().nbytes() == other.untyped_storage().nbytes()


def tensors(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else list(value)


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (ATEN.t.default, (WIDE,)),
        (ATEN.view.default, (WIDE, [24])),
        (ATEN.mul_.Tensor, (WIDE, 2)),
        (ATEN.split.Tensor, (WIDE, 3)),
    ],
)
def test_what_shares_or_writes_is_computed_each_time(func: Any, args: tuple[Any, ...]) -> None:
    made, known = answers(MetaResults(), func, *args)
    assert known == [False, False]
    assert tensors(made)[0].untyped_storage()._cdata == WIDE.untyped_storage()._cdata


def test_equal_numbers_of_different_types_are_told_apart() -> None:
    results = MetaResults()
    whole = torch.empty(3, device="meta", dtype=torch.int64)
    made = [answers(results, ATEN.add.Tensor, whole, one)[0].dtype for one in (1, 1.0, True)]
    assert made == [torch.int64, torch.float32, torch.int64]


def test_an_argument_without_a_key_is_passed_on() -> None:
    complex_number = (torch.empty(3, device="meta"), 1j)
    made, known = answers(MetaResults(), ATEN.add.Tensor, *complex_number)
    assert made.dtype == torch.complex64 and known == [False, False]
