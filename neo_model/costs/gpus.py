"""Peak dense bf16 FLOP/s and memory of the GPU types in use.

Owns the table, from the makers' data sheets, and the look-up of a device by the name it reports. Imports no torch.

    A100    NVIDIA A100 data sheet (nvidia-a100-datasheet-nvidia-us-2188504): 312 TFLOPS, 80 GB, or 40 GB
    H100    NVIDIA H100 data sheet, SXM: 1,979 TFLOPS with sparsity, 80 GB; NVL: 1,671, 94 GB; PCIe: 1,513, 80 GB
    H200    NVIDIA H200 data sheet, SXM: 1,979 TFLOPS with sparsity, 141 GB
    B200    NVIDIA DGX B200 data sheet: 36 PFLOPS with sparsity and 1,440 GB in eight
    L40S    NVIDIA L40S data sheet: 733 TFLOPS with sparsity, 48 GB

Sparsity doubles a figure on a data sheet; here it is halved.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Gpu:
    """One type of GPU."""

    name: str
    bf16_flops: float
    """Floating-point operations a second of dense bf16 products, accumulated in fp32."""
    memory_bytes: float


GPUS: Final = {
    gpu.name: gpu
    for gpu in (
        Gpu("A100 40GB", 312e12, 40e9),
        Gpu("A100", 312e12, 80e9),
        Gpu("H100 NVL", 835e12, 94e9),
        Gpu("H100 PCIe", 756e12, 80e9),
        Gpu("H100", 989e12, 80e9),
        Gpu("H200", 989e12, 141e9),
        Gpu("B200", 2250e12, 180e9),
        Gpu("L40S", 366e12, 48e9),
    )
}
"""GPU types by name, special forms before plain ones: `H100 NVL` is looked for before `H100`."""


def gpu_named(device_name: str) -> Gpu | None:
    """The type behind a device's own name, or None.

    >>> gpu_named("NVIDIA H100 80GB HBM3").name
    'H100'
    """
    words = re.split(r"[\s-]+", device_name.casefold())  # "NVIDIA A100-SXM4-40GB"
    return next((gpu for name, gpu in GPUS.items() if set(name.casefold().split()) <= set(words)), None)
