"""A batch arrives on its device as it was on the host, while the device computes."""

from dataclasses import fields

import pytest
import torch

from stages.training.engine.device_copies import DeviceCopies
from tests.stages.training.engine.test_engine import micro_batch


def test_on_a_cpu_a_batch_is_where_it_should_be() -> None:
    batch = micro_batch(0, 0)
    placed = DeviceCopies("cpu", torch.bfloat16).place(batch)
    assert all(getattr(placed, field.name) is getattr(batch, field.name) for field in fields(batch))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_arrive_whole_and_the_host_does_not_wait() -> None:
    copies = DeviceCopies("cuda:0", torch.bfloat16)
    square = torch.randn(8192, 8192, device="cuda:0")
    busy = torch.cuda.Event()
    for _ in range(20):
        square = (square @ square).clamp(-1, 1)
    busy.record()
    batches = [micro_batch(0, micro) for micro in range(8)]
    placed = [copies.place(batch) for batch in batches]
    assert not busy.query(), "the products take seconds, and the host did not wait for them"
    for before, after in zip(batches, placed, strict=True):
        for field in fields(before):
            assert torch.equal(getattr(before, field.name), getattr(after, field.name).cpu())
        assert after.input_ids.is_cuda and not after.documents.is_cuda
