"""No tensor of the host meets one of the device: a whole step, forward and backward, with the meta device as the GPU.

A machine without a GPU has all tensors on one device and hides what would fail on two. Here everything that `Batch.to`
moves, and the model, lie on the meta device; a mode looks at the operands of every operation, backward pass included.
Numbers are compared on a real GPU, in `test_cuda.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from neo_model.attention.interface import Backend
from neo_model.attention.varlen import TorchCudaKernel
from neo_model.inputs.batch import Batch, ensure_image
from neo_model.inputs.padding import pad_to_grid
from neo_model.model import NeoModel
from neo_model.weights.partition import freeze_for_stage1
from tests.neo_model.tiny import row, tiny_config

META = torch.device("meta")
COPIES = (torch.ops.aten._to_copy, torch.ops.aten.copy_)
"""What moves tensors from one device to the other."""
ROWS = {
    "pictures": ([7, (8, 8), 9], [(4, 6), 3], [7]),
    "text": ([9], [4]),
}


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of several devices, and the indexes on the host that torch would accept."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = [one for one in tree_leaves((args, kwargs or {})) if isinstance(one, Tensor) and one.ndim > 0]
        devices = {one.device.type for one in given}
        if len(devices) > 1 and func.overloadpacket not in COPIES:
            raise AssertionError(f"{func} meets {sorted(devices)}")
        return func(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def _kernels_of_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's CUDA kernels check shapes and dtypes on the meta device too."""
    monkeypatch.setattr("neo_model.attention.flash.kernel_for", lambda _: TorchCudaKernel())


def model_of(backend: Backend, **changes: Any) -> NeoModel:
    with META:
        model = NeoModel(tiny_config(hidden=64, head_dim=32, **changes), backend=backend).to(torch.bfloat16)
    freeze_for_stage1(model)
    return model


def batch_of(kind: str) -> Batch:
    return pad_to_grid(ensure_image(row(*ROWS[kind]))).to(META, torch.bfloat16)


def step(model: NeoModel, batch: Batch) -> None:
    with OneDevice():
        total = model(batch)
        (total.loss / total.weight).backward()
    assert total.loss.device == total.entropies.device == META
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert trained and all(p.grad is not None and p.grad.device == META for p in trained)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("backend", [Backend.FLASH, Backend.SDPA])
def test_a_step_mixes_no_devices(backend: Backend, kind: str, checkpointing: bool, tied: bool) -> None:
    model = model_of(backend, tied=tied)
    model.activation_checkpointing = checkpointing
    step(model, batch_of(kind))


@pytest.mark.parametrize(
    "change",
    [
        lambda batch: {"context_index": torch.zeros(batch.context_index.shape, dtype=torch.int64)},
        lambda batch: {"patches": torch.zeros(batch.patches.shape, dtype=torch.bfloat16)},
        lambda batch: {"targets": torch.zeros(batch.targets.shape, dtype=torch.int64)},
    ],
    ids=["an index", "an input", "targets"],
)
def test_a_tensor_that_stays_on_the_host_is_found(change: Callable[[Batch], dict[str, Tensor]]) -> None:
    batch = batch_of("pictures")
    with pytest.raises(AssertionError, match=r"meets \['cpu', 'meta'\]"):
        step(model_of(Backend.FLASH), replace(batch, **change(batch)))
