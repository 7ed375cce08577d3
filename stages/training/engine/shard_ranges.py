"""Reading of a checkpoint's shards by byte ranges: a rank of another layout reads what it needs, and checks it.

Beside each shard lies an index: where each slice lies in it, and a digest of each block of its bytes. The record of the
checkpoint has the digest of the index, and a read is rounded to whole blocks, so nothing is used unchecked:

    engine/index-00000.json    block_bytes, digests of blocks, and for each parameter: start, length, byte offset of
                               each kind

A rank needs the shards of few ranks: slices lie in about the same order in any layout. It reads the indexes from where
it would be in the old layout outwards, until it has found everything.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from torch import Tensor

from stages.contract import StageError
from stages.store.errors import DamagedFileError
from stages.training.engine.zero_slices import EMA, KINDS, WEIGHT, ParameterSlice

BLOCK_BYTES: Final = 256 * 1024
"""Bytes of a shard under one digest: the least that is read."""
RUN_BYTES: Final = 32 * BLOCK_BYTES
"""Most bytes in one read."""
GAP_BLOCKS: Final = 2
"""Blocks between two wanted ones that are read with them: a request costs more than half a megabyte."""
NUM_READERS: Final = 8
"""Reads at a time of one rank: with eight ranks, half a gigabyte of a host's memory."""
FP32_BYTES: Final = 4

ReadRange: TypeAlias = Callable[[int, int], bytes]
"""Reads a length of bytes from an offset of one shard. Raises `DamagedFileError` where they are not there."""


@dataclass(frozen=True)
class Shard:
    """A shard in the store: its index, read when it is asked for, and its bytes."""

    name: str
    index: Callable[[], bytes]
    """Reads the whole index, verified."""
    read: ReadRange


@dataclass(frozen=True)
class _Held:
    """A slice of one parameter in a shard."""

    start: int
    length: int
    offsets: Mapping[str, int]
    """Kind to the byte of the shard at which its first value lies."""


@dataclass
class _Blocks:
    """Digests of a shard's blocks, and how many bytes it has."""

    size_bytes: int
    block_bytes: int
    digests: NDArray[np.uint64]


@dataclass(frozen=True)
class _Copy:
    """Bytes of a shard that belong into a tensor."""

    first_byte: int
    until_byte: int
    target: Tensor
    """fp32, flat."""


@dataclass
class _Wanted:
    """A piece that is to be filled, and how much of it was found so far."""

    piece: ParameterSlice
    num_found: int = 0


@dataclass
class _Reading:
    """What one shard holds of the wanted pieces."""

    shard: Shard
    blocks: _Blocks
    copies: list[_Copy] = field(default_factory=list)


def write_index(shard: Path, target: Path) -> None:
    """Write the index of a shard, a safetensors file whose metadata says where its slices start."""
    digests, size_bytes = [], shard.stat().st_size
    with shard.open("rb") as file:
        (header_bytes,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(header_bytes))
        file.seek(0)
        while block := file.read(BLOCK_BYTES):
            digests.append(xxhash.xxh3_64_intdigest(block))
    starts = json.loads(header["__metadata__"]["starts"])
    first_byte = 8 + header_bytes
    slices = {
        name: {
            "start": start,
            "length": header[f"{WEIGHT}/{name}"]["shape"][0],
            "offsets": {
                kind: first_byte + header[f"{kind}/{name}"]["data_offsets"][0]
                for kind in (*KINDS, EMA)
                if f"{kind}/{name}" in header
            },
        }
        for name, start in starts.items()
    }
    encoded = base64.b64encode(np.array(digests, "<u8").tobytes()).decode()
    document = {"size_bytes": size_bytes, "block_bytes": BLOCK_BYTES, "digests": encoded, "slices": slices}
    target.write_text(json.dumps(document, sort_keys=True))


@torch.no_grad()
def read_ranges(shards: Sequence[Shard], wanted: Sequence[ParameterSlice], *, rank: int, num_ranks: int) -> None:
    """Fill pieces from whatever shards hold them. `rank` of `num_ranks` is this one, in the new layout.

    An average that the shards do not hold, since their training kept none, begins at the weights.

    Raises `DamagedFileError` where bytes differ from those that were committed, `StageError` where a value is in none.
    """
    left = [_Wanted(piece) for piece in wanted if piece.length]
    for shard in _outwards(shards, (rank + 0.5) * len(shards) / num_ranks - 0.5):
        if not left:
            return
        blocks, slices = _parsed(shard.index())
        reading = _Reading(shard, blocks)
        for one in left:
            if (held := slices.get(one.piece.name)) is not None:
                one.num_found += _shared(one.piece, held, reading.copies)
        _fill(reading)
        left = [one for one in left if one.num_found < one.piece.length]
    if left:
        first = left[0]
        raise StageError(f"the checkpoint holds {first.num_found} of {first.piece.length} values of {first.piece.name}")


def _outwards(shards: Sequence[Shard], middle: float) -> Iterator[Shard]:
    """The shards with the nearest to this place first: 2, 3, 1, 4, 0 of five from 2.25 on."""
    for number in sorted(range(len(shards)), key=lambda number: abs(number - middle)):
        yield shards[number]


def _parsed(index: bytes) -> tuple[_Blocks, dict[str, _Held]]:
    document: dict[str, Any] = json.loads(index)
    digests = np.frombuffer(base64.b64decode(document["digests"]), "<u8")
    blocks = _Blocks(document["size_bytes"], document["block_bytes"], digests)
    return blocks, {name: _Held(**held) for name, held in document["slices"].items()}


def _shared(piece: ParameterSlice, held: _Held, copies: list[_Copy]) -> int:
    """Note what a slice and a piece share; returns how many values that is."""
    first, until = max(piece.start, held.start), min(piece.start + piece.length, held.start + held.length)
    if first >= until:
        return 0
    for kind in piece.values:
        stored = WEIGHT if kind == EMA and EMA not in held.offsets else kind
        first_byte = held.offsets[stored] + FP32_BYTES * (first - held.start)
        target = piece.values[kind][first - piece.start : until - piece.start]
        copies.append(_Copy(first_byte, first_byte + FP32_BYTES * (until - first), target))
    return until - first


def _fill(reading: _Reading) -> None:
    """Read the blocks that hold what is wanted of one shard, check them, and copy."""
    copies = sorted(reading.copies, key=lambda one: one.first_byte)
    runs = list(_runs(copies, reading.blocks))
    with ThreadPoolExecutor(NUM_READERS) as readers:
        for start in range(0, len(runs), NUM_READERS):
            some = runs[start : start + NUM_READERS]  # so many lie in memory at a time
            for (first_byte, _), data in zip(some, readers.map(lambda run: _checked(reading, *run), some), strict=True):
                for one in copies:
                    _copy(one, first_byte, data)


def _runs(copies: Sequence[_Copy], blocks: _Blocks) -> Iterator[tuple[int, int]]:
    """First byte and end of each read: whole blocks, neighbours together, at most `RUN_BYTES` of them."""
    needed = sorted({number for one in copies for number in _numbers(one, blocks.block_bytes)})
    most = max(1, RUN_BYTES // blocks.block_bytes)
    run: list[int] = []
    for number in needed:
        if run and (number - run[-1] > GAP_BLOCKS + 1 or number - run[0] >= most):
            yield _bytes_of(run, blocks)
            run = []
        run.append(number)
    if run:
        yield _bytes_of(run, blocks)


def _numbers(copy: _Copy, block_bytes: int) -> range:
    return range(copy.first_byte // block_bytes, -(-copy.until_byte // block_bytes))


def _bytes_of(run: Sequence[int], blocks: _Blocks) -> tuple[int, int]:
    return run[0] * blocks.block_bytes, min((run[-1] + 1) * blocks.block_bytes, blocks.size_bytes)


def _checked(reading: _Reading, first_byte: int, until_byte: int) -> bytearray:
    """The bytes of a run. Raises `DamagedFileError` where a block differs from what was committed."""
    data = bytearray(reading.shard.read(first_byte, until_byte - first_byte))
    step = reading.blocks.block_bytes
    for start in range(0, len(data), step):
        number = (first_byte + start) // step
        if xxhash.xxh3_64_intdigest(memoryview(data)[start : start + step]) != int(reading.blocks.digests[number]):
            raise DamagedFileError(f"{reading.shard.name} is damaged from byte {first_byte + start} on")
    return data


def _copy(one: _Copy, first_byte: int, data: bytearray) -> None:
    """Copy what a run holds of one wanted range. Runs are cut between values: block sizes are multiples of 4 bytes."""
    first, until = max(one.first_byte, first_byte), min(one.until_byte, first_byte + len(data))
    if first >= until:
        return
    values = torch.frombuffer(data, dtype=torch.float32, count=(until - first) // FP32_BYTES, offset=first - first_byte)
    place = (first - one.first_byte) // FP32_BYTES
    one.target[place : place + values.numel()].copy_(values)
