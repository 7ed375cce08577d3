"""What is exchanged over ranks lies on one device, wherever the optimizer keeps its share.

The meta device stands for a GPU. That the slices are right is tested in `test_files.py` and `test_engine.py`.
"""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from stages.training.engine.zero_slices import publish

PARAMETERS = 8
"""Values of the one group, of which each of two ranks holds half."""


def optimizer_on_host(layout: str, device: str, dtype: torch.dtype) -> SimpleNamespace:
    """What `publish` reads of DeepSpeed's ZeRO-1 and 2, with fp32 weights and moments in host memory."""
    parameter = torch.nn.Parameter(torch.empty(PARAMETERS, device=device, dtype=dtype))
    whole, partition = torch.empty(PARAMETERS, device=device, dtype=dtype), torch.ones(PARAMETERS // 2)
    inner = SimpleNamespace(state={partition: {"step": torch.zeros(())}})
    if layout == "bf16 optimizer":
        own = {
            "bf16_groups": [[parameter]], "bf16_groups_flat": [whole], "fp32_groups_flat_partition": [partition],
        }  # fmt: skip
    else:
        own = {
            "round_robin_bit16_groups": [[parameter]], "round_robin_bit16_offsets": [[0]],
            "single_partition_of_fp32_groups": [partition], "bit16_groups_flat": [whole],
        }  # fmt: skip
    return SimpleNamespace(optimizer=inner, **own)


@pytest.mark.parametrize("layout", ["stages 1 and 2", "bf16 optimizer"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("zero_stage", [1, 2])
def test_weights_are_gathered_on_the_device_of_the_network(
    layout: str, dtype: torch.dtype, zero_stage: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gathered: list[Tensor] = []

    def gather(whole: Tensor, partition: Tensor) -> None:
        gathered.append(partition)
        assert (partition.device, partition.dtype) == (whole.device, whole.dtype)

    monkeypatch.setattr(torch.distributed, "all_gather_into_tensor", gather)
    optimizer = optimizer_on_host(layout, "meta", dtype)
    publish(SimpleNamespace(optimizer=optimizer), zero_stage, num_applied=3)
    assert [one.device.type for one in gathered] == ["meta"]
    assert [float(state["step"]) for state in optimizer.optimizer.state.values()] == [3.0]
