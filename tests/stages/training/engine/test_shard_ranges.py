"""Shards read by byte ranges: any layout from any other, little more than a rank's share, and nothing unchecked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import torch

from stages.contract import StageError
from stages.store.errors import DamagedFileError
from stages.training.engine.files import index_name, shard_name, write_shard
from stages.training.engine.shard_ranges import Shard, read_ranges
from stages.training.engine.zero_slices import EMA, KINDS, WEIGHT, ParameterSlice

BYTES_A_VALUE = 4 * len(KINDS)
Cuts = Callable[[Mapping[str, int], int, int], list[tuple[str, int, int]]]
"""Name, start and end of each slice that a rank of so many holds."""


def network(num_layers: int, width: int = 64) -> dict[str, int]:
    """Parameters to their numbers of values, in the order of a network."""
    kinds = {"mlp": 4 * width * width, "norm": width, "qkv": 3 * width * width}
    return {f"layers.{layer}.{kind}": length for layer in range(num_layers) for kind, length in kinds.items()}


def partitioned(lengths: Mapping[str, int], rank: int, num_ranks: int) -> list[tuple[str, int, int]]:
    """As ZeRO 1 and 2: all parameters end to end, and an even slice of that."""
    share, offset, cuts = -(-sum(lengths.values()) // num_ranks), 0, []
    for name, length in lengths.items():
        start, until = max(rank * share - offset, 0), min((rank + 1) * share - offset, length)
        cuts += [(name, start, until)] if start < until else []
        offset += length
    return cuts


def evenly(lengths: Mapping[str, int], rank: int, num_ranks: int) -> list[tuple[str, int, int]]:
    """As ZeRO 3: an even slice of each parameter, which for the last ranks may be nothing."""
    cuts = []
    for name, length in lengths.items():
        share = -(-length // num_ranks)
        cuts.append((name, min(rank * share, length), min((rank + 1) * share, length)))
    return cuts


def alone(lengths: Mapping[str, int], rank: int, _: int) -> list[tuple[str, int, int]]:
    """As without ZeRO: rank 0 writes everything."""
    return [(name, 0, length) for name, length in lengths.items()] if rank == 0 else []


def everything(lengths: Mapping[str, int], _rank: int, _: int) -> list[tuple[str, int, int]]:
    """As without ZeRO: each rank reads everything."""
    return alone(lengths, 0, 1)


def pieces(cuts: list[tuple[str, int, int]], *, fill: bool) -> list[ParameterSlice]:
    """Slices whose values say where they belong, or hold nothing yet."""
    return [
        ParameterSlice(
            name,
            start,
            {
                kind: (torch.arange(start, until) % 9973 + 10_000 * number).float()
                if fill
                else torch.full((until - start,), torch.nan)
                for number, kind in enumerate(KINDS)
            },
        )
        for name, start, until in cuts
    ]


@dataclass
class Source:
    """The shards of a folder, and how much was read of them."""

    folder: Path
    num_bytes: int = 0
    num_indexes: int = 0
    shards: list[Shard] = field(default_factory=list)

    def __post_init__(self) -> None:
        for rank in range(len(list(self.folder.rglob("*.safetensors")))):
            index, shard = self.folder / index_name(rank), self.folder / shard_name(rank)
            self.shards.append(Shard(shard.name, partial(self._index, index), partial(self._read, shard)))

    def _index(self, path: Path) -> bytes:
        self.num_indexes += 1
        self.num_bytes += path.stat().st_size
        return path.read_bytes()

    def _read(self, path: Path, start: int, length: int) -> bytes:
        self.num_bytes += length
        data = path.read_bytes()[start : start + length]
        assert len(data) == length
        return data


def write(folder: Path, lengths: Mapping[str, int], cuts: Cuts, num_ranks: int) -> None:
    for rank in range(num_ranks):
        held = [piece for piece in pieces(cuts(lengths, rank, num_ranks), fill=True) if piece.length]
        write_shard(folder, rank, held)


LAYOUTS: list[tuple[Cuts, int]] = [(partitioned, 5), (partitioned, 3), (evenly, 4), (evenly, 7), (alone, 3)]


@pytest.mark.parametrize(("old", "num_old"), LAYOUTS)
def test_every_layout_reads_every_other(old: Cuts, num_old: int, tmp_path: Path) -> None:
    lengths = network(3)
    write(tmp_path, lengths, old, num_old)
    for new, num_new in LAYOUTS:
        cuts = everything if new is alone else new
        for rank in range(num_new):
            found = pieces(cuts(lengths, rank, num_new), fill=False)
            read_ranges(Source(tmp_path).shards, found, rank=rank, num_ranks=num_new)
            for piece, expected in zip(found, pieces(cuts(lengths, rank, num_new), fill=True), strict=True):
                assert all(piece.values[kind].equal(expected.values[kind]) for kind in KINDS)


@pytest.mark.parametrize(("cuts", "most_beside"), [(partitioned, 0.35), (evenly, 1.5)], ids=["ZeRO 1 and 2", "ZeRO 3"])
def test_a_rank_reads_about_its_share_at_any_size(cuts: Cuts, most_beside: float, tmp_path: Path) -> None:
    """Of 8 ranks' files 6 ranks read theirs: a share of a sixth, the ends of blocks, and what lies between near slices.

    Under ZeRO 3 a rank needs a piece of every parameter in up to three files, which it reads nearly whole.
    """
    read: dict[int, float] = {}
    for width in (256, 512):
        folder, lengths = tmp_path / str(width), network(4, width)
        write(folder, lengths, cuts, 8)
        share_bytes = BYTES_A_VALUE * sum(lengths.values()) / 6
        sources = [Source(folder) for _ in range(6)]
        for rank, source in enumerate(sources):
            read_ranges(source.shards, pieces(cuts(lengths, rank, 6), fill=False), rank=rank, num_ranks=6)
            assert source.num_indexes <= 3, "those of ranks that held about the same"
        read[width] = max(source.num_bytes for source in sources) / share_bytes
    assert read[512] < 1 + most_beside, "less of what is read is beside the share, the larger the network is"
    assert read[512] < read[256] < 3, "copied whole it would be 6"


def spoil(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_damage_is_seen_where_it_is_read_and_only_there(tmp_path: Path) -> None:
    lengths = network(4, 256)
    write(tmp_path, lengths, partitioned, 4)
    spoil(tmp_path / shard_name(3), -1)
    read_ranges(Source(tmp_path).shards, pieces(partitioned(lengths, 0, 3), fill=False), rank=0, num_ranks=3)
    with pytest.raises(DamagedFileError, match="rank-00003.safetensors is damaged from byte"):
        read_ranges(Source(tmp_path).shards, pieces(partitioned(lengths, 2, 3), fill=False), rank=2, num_ranks=3)


def test_values_that_no_shard_holds_are_named(tmp_path: Path) -> None:
    lengths = network(2)
    write(tmp_path, lengths, partitioned, 2)
    (tmp_path / shard_name(1)).unlink()
    with pytest.raises(StageError, match="holds 0 of 16384 values of layers.1.mlp"):
        read_ranges(Source(tmp_path).shards, pieces(everything(lengths, 0, 1), fill=False), rank=0, num_ranks=1)


def test_an_average_begins_at_the_weights_where_the_shards_hold_none(tmp_path: Path) -> None:
    lengths = network(1)
    write(tmp_path, lengths, partitioned, 2)
    (first, *_) = pieces(everything(lengths, 0, 1), fill=False)
    averaged = ParameterSlice(first.name, 0, {WEIGHT: first.values[WEIGHT], EMA: torch.empty(first.length)})
    read_ranges(Source(tmp_path).shards, [averaged], rank=0, num_ranks=1)
    assert averaged.values[EMA].equal(averaged.values[WEIGHT]) and averaged.values[EMA].isfinite().all()
