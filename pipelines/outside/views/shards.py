"""Shards: what a view consists of, and what each kind of artifact gives for them.

A shard is a tar of the store that holds exactly the samples of the view, and is linked; or samples that are written
into a file of their own, because no tar of the store holds them alone: what a verdict left of one, texts,
conversations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from stages.artifacts.artifact import Artifact
from stages.artifacts.records import FileEntry

if TYPE_CHECKING:
    import pyarrow as pa

Members: TypeAlias = Mapping[str, bytes]
"""The members of a sample in a tar, by their endings."""
CRUDE: Final = {"__module__": "megatron.energon", "__class__": "CrudeWebdataset"}
"""What `dataset.yaml` says of samples for which Energon has no type: its user's own code makes something of them."""
KEY_DIGITS: Final = 6
"""Digits of the number of a shard, and of a sample in it, in the keys of samples that have none of their own."""


@dataclass(frozen=True)
class ViewShard:
    """One file of a view."""

    part: str
    """Part of the artifact that its samples are from."""
    num_samples: int
    """Samples in it, at least one."""
    tar: FileEntry | None
    """The committed tar that holds exactly these samples; None where they are written."""
    least_bytes: int = 0
    """What is known of the bytes that are to be written."""
    is_rest: bool = False
    """Whether it holds the samples that share their picture with another one, in the tar of its part."""


class ShardSource(ABC):
    """The shards of one artifact, and their samples."""

    energon: ClassVar[Mapping[str, Any]] = CRUDE
    """What `dataset.yaml` of Energon says of the samples."""
    is_tabular: ClassVar[bool] = False
    """Whether `datasets` reads the samples as a table in Parquet, by `tables`, and not as a tar."""

    @property
    @abstractmethod
    def holder(self) -> Artifact:
        """The artifact whose files are the tars that are linked."""

    @property
    @abstractmethod
    def features(self) -> list[dict[str, Any]]:
        """The columns that `datasets` makes of the samples, as the card of a data set declares them."""

    @abstractmethod
    def shards(self) -> Iterator[ViewShard]:
        """All shards, in an order that depends on the artifact alone. A part without samples has none."""

    def samples(self, shard: ViewShard, number: int) -> Iterator[tuple[str, Members]]:
        """Key and members of each sample of a shard that is written, of rising keys; `number` is that of the shard."""
        raise NotImplementedError(f"{type(self).__name__} writes no tar of part {shard.part} (shard {number})")

    def tables(self, shard: ViewShard) -> Iterator[pa.Table]:
        """The rows of a shard that is written as a table, some at a time."""
        raise NotImplementedError(f"{type(self).__name__} writes no table of part {shard.part}")

    def starts(self, shard: ViewShard) -> Sequence[int] | None:
        """The first byte of each sample in a linked tar, rising; None where only the tar itself tells."""
        del shard
        return None


def sample_key(shard: int, row: int) -> str:
    """A key that no other sample of the view has."""
    return f"{shard:0{KEY_DIGITS}d}-{row:0{KEY_DIGITS}d}"
