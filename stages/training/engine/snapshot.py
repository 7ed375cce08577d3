"""Host copy of a rank's share of the training state, which is written while training continues."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from stages.training.engine.zero_slices import WEIGHT, ParameterSlice


class Snapshot:
    """Host memory for the pieces of one rank, taken at the first snapshot and used again by every later one."""

    def __init__(self) -> None:
        self._held: list[ParameterSlice] = []

    @torch.no_grad()
    def take(self, pieces: Sequence[ParameterSlice]) -> list[ParameterSlice]:
        """The pieces as they are now. They stay so until the next call."""
        if not self._held:
            self._held = _room_for(pieces)
        for mine, theirs in zip(self._held, pieces, strict=True):
            for kind in mine.values:
                mine.values[kind].copy_(theirs.values[kind], non_blocking=True)
        if _on_gpu(pieces):
            torch.cuda.synchronize()
        return self._held


def _room_for(pieces: Sequence[ParameterSlice]) -> list[ParameterSlice]:
    """Pieces of the same names and lengths in one block of host memory, locked where a GPU copies into it."""
    num_values = sum(len(piece.values) * piece.length for piece in pieces)
    block = torch.empty(num_values, dtype=torch.float32, pin_memory=_on_gpu(pieces))
    room = iter(block.split([piece.length for piece in pieces for _ in piece.values]))
    return [ParameterSlice(piece.name, piece.start, _named(room, piece.values)) for piece in pieces]


def _on_gpu(pieces: Sequence[ParameterSlice]) -> bool:
    return bool(pieces) and pieces[0].values[WEIGHT].is_cuda


def _named(room: Iterator[Tensor], kinds: Iterable[str]) -> dict[str, Tensor]:
    return {kind: next(room) for kind in kinds}
