"""Where a rank stands among ranks that share rows, and its share of each row.

Owns sequence parallelism as loading sees it. Ranks that follow one another share rows: of eight ranks with
`sequence_ranks = 4`, ranks 0 to 3 have one micro-batch and ranks 4 to 7 another. A group of ranks is to the rows what
a single rank is otherwise. Every rank of a group reads and decodes the whole rows, so that all agree about damage, and
keeps its share.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.contract import GangLayout, Rank
from stages.training.recipe import Precision

if TYPE_CHECKING:
    from neo_model.config import NeoConfig
    from neo_model.inputs.batch import Batch


@dataclass(frozen=True)
class SequencePlace:
    """The group of one rank, and its place in the group."""

    group: int = 0
    """Number of the group: what decides which rows it has."""
    num_groups: int = 1
    share: int = 0
    """Which share of each row this rank has."""
    num_shares: int = 1
    """Ranks that share a row."""
    on_grid: bool = False
    """Whether rows are padded to few lengths before they are cut, for code that is compiled for each length."""

    @classmethod
    def of(cls, layout: GangLayout, rank: int, world_size: int, *, on_grid: bool = False) -> SequencePlace:
        """The place of a rank."""
        group, share = divmod(rank, layout.sequence_ranks)
        return cls(group, world_size // layout.sequence_ranks, share, layout.sequence_ranks, on_grid)

    @classmethod
    def of_rank(cls, rank: Rank, config: NeoConfig, precision: Precision) -> SequencePlace:
        """The place of a rank that trains a network of `config`."""
        from stages.training.engine.execution import is_compiled

        layout = rank.layout
        on_grid = layout.sequence_ranks > 1 and is_compiled(config, layout, precision, rank.device)
        return cls.of(layout, rank.rank, rank.world_size, on_grid=on_grid)

    @property
    def is_first(self) -> bool:
        """Whether this rank speaks for its group where the group counts once."""
        return self.share == 0

    def take(self, batch: Batch) -> tuple[Batch, int]:
        """This rank's share of a row, and how many tokens of the share are padding."""
        from neo_model.inputs.padding import grid_step, pad
        from neo_model.inputs.shares import take_share

        if self.num_shares == 1:
            return batch, 0
        # Compiled for the length of a share: the same for all of them. A share of no tokens would suit no kernel.
        step = math.lcm(grid_step(batch.num_tokens), self.num_shares) if self.on_grid else 1
        padded = pad(batch, step if batch.num_tokens >= self.num_shares else self.num_shares)
        share = take_share(padded, self.share, self.num_shares)
        return share, share.num_tokens - max(0, min(share.num_tokens, batch.num_tokens - share.first_token))

    def difference(self, rows: Iterable[object]) -> int:
        """What all ranks' sum of this is 0 for, if the ranks of each group have the same rows.

        The first of a group of four adds three times a digest of its rows, the others subtract it once each: float64
        sums that exactly for any number of ranks.
        """
        text = ",".join(map(str, rows)).encode()
        digest = int.from_bytes(hashlib.sha256(text).digest()[:4])
        return digest * (self.num_shares - 1) if self.is_first else -digest
