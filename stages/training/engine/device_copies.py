"""Batches on their way to a rank's device.

On a GPU a batch goes through locked memory and a stream of its own. The host hands over work faster than the GPU does
it: while the GPU computes micro-batch 3, the host copies micro-batch 4 into locked memory, and the copy engine takes it
from there. From pageable memory on the GPU's main stream, the copy would begin when micro-batch 3 is done, and the host
would wait for it. The first micro-batch of a step is waited for: the step before ends with its norm on the host.
"""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor

from neo_model.inputs.batch import Batch


class DeviceCopies:
    """Copies batches to one device, patches in the precision of the network."""

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        self._device = torch.device(device)
        self._dtype = dtype
        self._stream = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None

    def place(self, batch: Batch) -> Batch:
        """The batch on the device, ready for work that is queued after this call."""
        if self._stream is None:
            return batch.to(self._device, self._dtype)
        with torch.cuda.stream(self._stream):
            placed = batch.pinned().to(self._device, self._dtype)
        main = torch.cuda.current_stream(self._device)
        main.wait_stream(self._stream)
        for field in fields(placed):
            value = getattr(placed, field.name)
            if isinstance(value, Tensor) and value.is_cuda:
                value.record_stream(main)  # its memory was given out on the other stream, which may not reuse it yet
        return placed
