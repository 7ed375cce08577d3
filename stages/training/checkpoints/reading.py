"""The state of a checkpoint into the engine of a rank: its own shard whole, or byte ranges of the shards of others.

Owns which bytes of a checkpoint a rank reads, and that all ranks hear of damage that one of them finds.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial

from stages.contract import PartRecord, Rank
from stages.store.errors import DamagedFileError
from stages.training.checkpoints.facts import CheckpointFacts, StateLayout
from stages.training.collectives import run_on_all
from stages.training.engine.files import FOLDER, index_name, read_shards, shard_name
from stages.training.engine.shard_ranges import Shard, read_ranges
from stages.training.engine.zero_slices import ParameterSlice


def read_state(record: PartRecord, rank: Rank, slices: Sequence[ParameterSlice], layout: StateLayout) -> str:
    """Fill slices of this rank, verified; returns what is damaged on any rank, or ''. Collective.

    `layout` is that of the ranks now. Where any is damaged the slices hold nothing of use.
    """
    facts = CheckpointFacts.of(record)
    is_own = facts.layout == layout and rank.layout.zero_stage > 0

    def read() -> str:
        try:
            if is_own:
                _read_whole(record, rank, slices, shard_name(rank.rank))
            else:
                _read_of_others(record, rank, slices)
        except DamagedFileError as error:
            return str(error)
        return ""

    damage = run_on_all(read, f"the checkpoint at step {facts.step} cannot be read")
    return "; ".join(sorted(filter(None, damage)))


def _read_whole(record: PartRecord, rank: Rank, slices: Sequence[ParameterSlice], prefix: str) -> None:
    """Fill the slices from files that are copied whole: under the same layout a rank needs its own alone."""
    folder = rank.scratch / "restored"
    rank.checkpoints.fetch(record, folder, prefix)
    read_shards(folder, slices)
    shutil.rmtree(folder)


def _read_of_others(record: PartRecord, rank: Rank, slices: Sequence[ParameterSlice]) -> None:
    """Fill the slices from the byte ranges that hold them, in the files that ranks of another layout wrote."""
    files = {entry.name: entry for entry in record.files}
    shards = [
        Shard(
            name=files[shard_name(number)].key,
            index=partial(rank.checkpoints.read, files[index_name(number)]),
            read=partial(rank.checkpoints.read_range, files[shard_name(number)]),
        )
        for number in range(len(files))
        if index_name(number) in files
    ]
    if shards:
        read_ranges(shards, slices, rank=rank.rank, num_ranks=rank.world_size)
    else:  # of a version that wrote no indexes
        _read_whole(record, rank, slices, FOLDER)
