"""The weights before the first step, one copy a host: its ranks map the same files instead of holding their own.

Owns where they lie: those of the language model in its own files, the new ones in a copy of the machine's cache, which
one rank fills while the others wait. Pages that a rank changes become its own; the files are never written to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from stages.store.file_cache import machine_cache

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from neo_model.config import NeoConfig

ALIGNED_BYTES: Final = 64
"""Each tensor begins at a multiple of this, as vector instructions want it."""


def first_weights(llm_folder: Path, config: NeoConfig, seed: int) -> dict[str, Tensor]:
    """All weights of the model before the first step, by name, each in the precision in which it lies on disk.

    Those of the language model in `llm_folder`, a plain Qwen3; the new ones drawn by `seed` in fp32, or copied from it.
    """
    from neo_model.weights.qwen3 import renamed_qwen3
    from neo_model.weights.released import read_tensors

    inherited = renamed_qwen3(read_tensors(llm_folder), config)
    return inherited | _new_weights(config, seed, inherited)


def _new_weights(config: NeoConfig, seed: int, inherited: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The new weights, mapped from the copy of this machine, which is made where there is none."""
    import torch

    from neo_model.weights.new_weights import drawn_weights, hw_dtypes, hw_weights, new_shapes

    shapes = new_shapes(config)
    hw_precisions = hw_dtypes(config, inherited)
    places: dict[str, tuple[int, int, torch.dtype]] = {}
    end = 0
    for name, shape in shapes.items():
        dtype = hw_precisions.get(name, torch.float32)
        start = end + -end % ALIGNED_BYTES
        end = start + torch.Size(shape).numel() * dtype.itemsize
        places[name] = start, end, dtype

    def fill(file: BinaryIO) -> None:
        made: Iterator[tuple[str, Tensor]] = chain(drawn_weights(config, seed), hw_weights(config, inherited))
        for name, value in made:
            file.seek(places[name][0])
            file.write(_bytes_of(value))

    copied = [inherited[name.replace("_hw", "")] for name in hw_precisions if name.endswith("_hw.weight")]
    with machine_cache().file(f"first-{_digest(config, seed, copied)}", end, fill) as path:
        data = torch.from_file(str(path), shared=False, size=end, dtype=torch.uint8)
    return {name: data[start:end].view(dtype).view(shapes[name]) for name, (start, end, dtype) in places.items()}


def _digest(config: NeoConfig, seed: int, copied: list[Tensor]) -> str:
    """What decides the bytes of the new weights: configuration, seed, version of torch, and what is copied."""
    import torch
    import xxhash

    content = xxhash.xxh3_128()
    for tensor in copied:
        content.update(_bytes_of(tensor))
    said = json.dumps([asdict(config), seed, torch.__version__, content.hexdigest()], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def _bytes_of(tensor: Tensor) -> memoryview:
    import torch

    return tensor.contiguous().view(torch.uint8).numpy().reshape(-1).data
