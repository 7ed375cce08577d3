"""The state of training as files: one for each rank, of slices of parameters, readable by any number of ranks.

    engine/rank-00000.safetensors    weight/<parameter>, exp_avg/<parameter>, exp_avg_sq/<parameter>: fp32 slices of
                                     the flattened parameter; where each begins stands in the file's metadata; and
                                     ema/<parameter> of a training that keeps an average of its weights
    engine/index-00000.json          where each slice lies in that file, and digests of its blocks (`shard_ranges.py`)

No pickles, and no trace of the ranks or ZeRO stage that wrote them: another layout reads the slices it needs.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from stages.contract import StageError
from stages.training.engine.shard_ranges import write_index
from stages.training.engine.zero_slices import EMA, WEIGHT, ParameterSlice

FOLDER: Final = "engine"


def shard_name(rank: int) -> str:
    """The file of one rank inside a checkpoint."""
    return f"{FOLDER}/rank-{rank:05d}.safetensors"


def index_name(rank: int) -> str:
    """The index of one rank's file."""
    return f"{FOLDER}/index-{rank:05d}.json"


def write_shard(folder: Path, rank: int, held: Sequence[ParameterSlice]) -> None:
    """Write the pieces of one rank, which lie in host memory, and the index of that file."""
    path = folder / shard_name(rank)
    path.parent.mkdir(parents=True, exist_ok=True)
    filled = [piece for piece in held if piece.length]
    tensors = {f"{kind}/{piece.name}": piece.values[kind] for piece in filled for kind in piece.values}
    save_file(tensors, path, {"starts": json.dumps({piece.name: piece.start for piece in filled})})
    write_index(path, folder / index_name(rank))


@torch.no_grad()
def read_shards(folder: Path, wanted: Sequence[ParameterSlice]) -> None:
    """Fill pieces from whatever files of `folder` hold them. Raises `StageError` where a value is in none.

    An average that the files do not hold, since their training kept none, begins at the weights.
    """
    with ExitStack() as stack:
        slices = _index(folder, stack)
        for piece in wanted:
            found = sum(_fill(piece, one) for one in slices[piece.name])
            if found != piece.length:
                raise StageError(f"the checkpoint in {folder} holds {found} of {piece.length} values of {piece.name}")


@dataclass(frozen=True)
class _Slice:
    """A slice of one parameter in a file."""

    file: Any
    start: int
    length: int
    has_ema: bool


def _index(folder: Path, stack: ExitStack) -> dict[str, list[_Slice]]:
    found: dict[str, list[_Slice]] = defaultdict(list)
    for path in sorted((folder / FOLDER).glob("rank-*.safetensors")):
        file = stack.enter_context(safe_open(path, framework="pt"))
        keys = set(file.keys())
        for name, start in json.loads(file.metadata()["starts"]).items():
            length = file.get_slice(f"{WEIGHT}/{name}").get_shape()[0]
            found[name].append(_Slice(file, start, length, has_ema=f"{EMA}/{name}" in keys))
    return found


def _fill(piece: ParameterSlice, found: _Slice) -> int:
    """Copy what a slice and a piece share; returns how many values that is."""
    first, until = max(piece.start, found.start), min(piece.start + piece.length, found.start + found.length)
    if first >= until:
        return 0
    for kind in piece.values:
        stored = WEIGHT if kind == EMA and not found.has_ema else kind
        read = found.file.get_slice(f"{stored}/{piece.name}")[first - found.start : until - found.start]
        piece.values[kind][first - piece.start : until - piece.start].copy_(read)
    return until - first
