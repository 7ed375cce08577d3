"""Ranks: the processes of a worker group (gang), and what one may ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stages.artifacts.records import FileEntry, PartRecord
from stages.contract.fork import Fork

WATCHDOG_LATENESS: Final = 1.05
"""After how many times the longest silence a hang is noticed at the latest."""


class GangLayout(BaseModel):
    """How a site runs a worker group (gang) of training ranks. Not identity: results differ by rounding alone."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    num_ranks: int = Field(default=1, ge=1)
    """Number of processes, each with one device."""
    zero_stage: Literal[0, 1, 2, 3] = 2
    """DeepSpeed ZeRO stage: what is partitioned over ranks (1 optimizer, 2 and gradients, 3 and parameters)."""
    sequence_ranks: int = Field(default=1, ge=1)
    """Ranks that share each row: every one holds a part of its tokens, and in attention a part of the heads of all of
    them. For rows that one device does not hold. Divides `num_ranks` and the attention heads. Best at most
    as many as a machine has GPUs: neighbours share a row, and each layer sends all of it between them."""
    offload_optimizer: bool = False
    """Keep moments and fp32 weights in the host's memory and update there: slower steps, for models that fit a GPU
    in no other way. With ZeRO stage 1 or above."""
    micro_rows: int = Field(default=1, ge=1)
    """Packed rows in one forward pass of one rank; the rest of an optimizer step is accumulated."""
    attention: Literal["auto", "sdpa", "flex", "flash"] = "auto"
    """Backend of the attention layers (`neo_model/attention/`). `auto`: flash where its kernels run, else flex on a
    GPU. `sdpa` holds dense scores on a GPU: for comparisons alone."""
    activation_checkpointing: bool = False
    """Recompute block activations in the backward pass."""
    compile_layers: bool = False
    """Compile the layers with torch's compiler: fewer passes over memory between their matrix products. Rows are padded
    to few lengths, each of which is compiled once. Off under ZeRO stage 3, whose hooks are Python."""
    reduce_gradients_in: Literal["fp32", "bf16"] = "fp32"
    """Precision in which gradients are summed over ranks where forward and backward are in bf16. `bf16` sends half the
    bytes; its sum over 8 ranks is off by 0.3%, over 128 ranks by 1%."""
    deterministic: bool = False
    """Choose kernels that give the same bits in every run on the same machines, on a GPU too, where the fastest do
    not. On a CPU all do."""
    num_loader_workers: int = Field(default=0, ge=0)
    """Processes that decode images for one rank; 0 decodes in a thread of the rank."""
    persistent_parameter_values: int = Field(default=100_000, ge=0)
    """Parameters with fewer values stay whole on every rank under ZeRO stage 3: gathering them would cost more than
    keeping them."""
    reduction_buffer_values: int = Field(default=500_000_000, ge=1)
    """Gradient values that are reduced over ranks at a time. A rank keeps a buffer of this size, and two where the
    reduction overlaps the backward pass; the default is DeepSpeed's."""
    max_silent_seconds: float = Field(default=3600, gt=0)
    """Longest time between two optimizer steps, commits included, after which a rank counts as hung, in seconds."""
    collective_timeout_seconds: float | None = Field(default=None, gt=0)
    """How long a rank waits for the others in a collective before NCCL or gloo ends it, in seconds. None: a tenth and a
    minute longer than `max_silent_seconds`, so that the watchdog comes first, which keeps the stacks of all threads."""

    @property
    def collective_timeout(self) -> timedelta:
        """The timeout of all collectives of the ranks."""
        return timedelta(seconds=self.collective_timeout_seconds or 1.1 * self.max_silent_seconds + 60)

    @property
    def num_groups(self) -> int:
        """Groups of ranks that share rows: as many rows as are computed side by side."""
        return self.num_ranks // self.sequence_ranks

    @model_validator(mode="after")
    def _check_sequence_ranks(self) -> GangLayout:
        if why := self.why_not_grouped():
            raise ValueError(why)
        return self

    def why_not_grouped(self) -> str:
        """Why ranks cannot share rows as stated; '' if they can."""
        if self.num_ranks % self.sequence_ranks == 0:
            return ""
        return (
            f"num_ranks = {self.num_ranks} with sequence_ranks = {self.sequence_ranks}: ranks share rows in groups of "
            f"{self.sequence_ranks}, so write a multiple of {self.sequence_ranks}"
        )

    @model_validator(mode="after")
    def _check_timeouts(self) -> GangLayout:
        stated, needed = self.collective_timeout_seconds, WATCHDOG_LATENESS * self.max_silent_seconds
        if stated is not None and stated < needed:
            raise ValueError(
                f"collective_timeout_seconds = {stated:g} is less than a silence of max_silent_seconds = "
                f"{self.max_silent_seconds:g} takes to be noticed ({needed:g}): NCCL would end ranks that wait for a "
                "commit or a slow rank before the watchdog has kept their stacks; leave it out, or lower "
                "max_silent_seconds"
            )
        return self


class RankCheckpoints(Protocol):
    """The checkpoints of the step that a rank works on. `stages/commit/checkpoints.py` fulfils it."""

    @property
    def allows_rollback(self) -> bool:
        """Whether training may continue from an earlier checkpoint if the newest is damaged."""

    def latest(self) -> PartRecord | None:
        """The last committed checkpoint of this step, or None. Its optimizer step is `facts["step"]`.

        Raises `TornRecordError` where its record does not parse.
        """

    def origin(self) -> PartRecord | None:
        """The checkpoint of another training that this one begins from; None where it begins at step 0."""

    def upload(self, folder: Path, step: int) -> tuple[FileEntry, ...]:
        """Upload this rank's files of a checkpoint, all under `folder`, to a private prefix. From any thread.

        Two ranks must not hold a file of the same name. The checkpoint does not exist before `commit`.
        """

    def commit(self, files: Sequence[FileEntry], step: int, facts: Mapping[str, Any]) -> PartRecord:
        """Commit the files that all ranks have uploaded as one checkpoint. On rank 0, from any thread.

        Raises `SupersededError` if another attempt continued from the same checkpoint and committed first.
        """

    def delayed(self, step: int, why: str, since_seconds: float) -> None:
        """Tell people that the store does not take the checkpoint at `step`, since a Unix time; it is tried again."""

    def fetch(self, record: PartRecord, folder: Path, prefix: str = "") -> None:
        """Copy the files of a checkpoint whose names begin with `prefix` into `folder`, verified.

        Raises `DamagedFileError` where one is missing or differs from what was committed.
        """

    def read(self, entry: FileEntry) -> bytes:
        """A small file of a checkpoint, verified. Raises `DamagedFileError` like `fetch`."""

    def read_range(self, entry: FileEntry, start: int, length: int) -> bytes:
        """`length` bytes of a file of a checkpoint, from offset `start`, which the caller verifies. From any thread.

        Raises `DamagedFileError` where they are not there.
        """

    def kept(self) -> list[PartRecord]:
        """The committed checkpoints whose files were not deleted, in order."""

    def delete(self, record: PartRecord) -> None:
        """Delete the files of a committed checkpoint that is not the last. Its record stays. On one rank only."""

    def roll_back(self, to: PartRecord, why: str) -> None:
        """Quarantine every checkpoint after `to`, so that it is the last. On rank 0 only."""


class Rank(Protocol):
    """One rank of a worker group, inside its process. The process group is already initialised."""

    rank: int
    world_size: int
    device: str
    layout: GangLayout

    @property
    def artifact(self) -> str:
        """The shown digits of the fingerprint that is being made, by which commands know it."""

    @property
    def scratch(self) -> Path:
        """A private local folder of this rank."""

    @property
    def fork(self) -> Fork | None:
        """What training begins from, where that is a checkpoint of another one; None for step 0."""

    @property
    def checkpoints(self) -> RankCheckpoints:
        """The checkpoints of this step."""

    def report(self, numbers: Mapping[str, float], at_step: int) -> None:
        """Post metrics for people to watch. Opens no socket to a tracker and does not block."""

    def busy(self, doing: str) -> None:
        """Say what takes long before the first optimizer step, or between two: `reading the model`. On all ranks; that
        of rank 0 is shown, until the next metrics."""

    def warn(self, message: str) -> None:
        """Post a warning about something that went wrong and was dealt with. Does not block; nothing is stored."""

    def keep_picture(self, name: str, png: bytes, at_step: int) -> None:
        """Keep a picture for people to watch beside the metrics; `name` is the same for all of a kind."""

    def keep_log(self, name: str, text: str) -> None:
        """Keep a text for people beside the logs of this attempt, where `neo logs` finds it."""

    def should_stop(self) -> bool:
        """Whether the run was asked to stop: commit, then return. Only rank 0 is told; it never blocks."""

    def record_fact(self, phase: str, facts: Mapping[str, Any]) -> None:
        """Commit facts that later attempts must follow, under the next number of `phase`."""

    def recorded_facts(self, phase: str) -> list[PartRecord]:
        """What was recorded by `record_fact`, by any attempt, in order."""
