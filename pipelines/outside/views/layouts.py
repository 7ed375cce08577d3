"""The layouts: where each loader wants its shards, and which files it wants beside them.

wds       000000.tar ...
hf        README.md with the block `configs` and the columns, data/000000.tar or .parquet ...
energon   .nv-meta/dataset.yaml, split.yaml, .info.json; 000000.tar, 000000.tar.idx ...
"""

from __future__ import annotations

import json
import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pipelines.outside.target_folder import TargetFolder
from pipelines.outside.views.shards import KEY_DIGITS, ShardSource, ViewShard
from pipelines.outside.views.written import write_text
from stages.formats.tar import BLOCK_BYTES

ENERGON_VERSION: Final = "7.4.1"
"""The version of Energon whose `prepare` writes the same files."""
NAME_BYTES: Final = 100
SIZE_DIGITS: Final = slice(124, 135)
"""Where the header of a member has its name and the octal digits of its size."""


class Layout(ABC):
    """Where the files of a view lie, for one loader."""

    name: str
    folder: str = ""
    """Folder of the shards in that of the view."""

    def path(self, number: int, source: ShardSource) -> str:
        """Where shard `number` lies."""
        del source
        return f"{self.folder}{number:0{KEY_DIGITS}d}.tar"

    def beside(self, target: TargetFolder, source: ShardSource, shard: ViewShard, number: int) -> None:
        """Write what belongs beside a shard that is in its place."""
        del target, source, shard, number

    @abstractmethod
    def finish(self, target: TargetFolder, source: ShardSource, shards: Sequence[ViewShard]) -> None:
        """Write what describes all shards."""

    @abstractmethod
    def snippet(self, folder: str, num_shards: int) -> str:
        """Python that opens the view."""

    def pattern(self, num_shards: int) -> str:
        """All shards as one pattern with braces, relative to the folder."""
        last = f"{num_shards - 1:0{KEY_DIGITS}d}"
        numbers = f"{{{0:0{KEY_DIGITS}d}..{last}}}" if num_shards > 1 else last
        return f"{self.folder}{numbers}.tar"


class WebDatasetLayout(Layout):
    """Tars alone, for webdataset and all that reads its patterns."""

    name = "wds"

    def finish(self, target: TargetFolder, source: ShardSource, shards: Sequence[ViewShard]) -> None:
        """Nothing: the names of the shards are all that there is."""

    def snippet(self, folder: str, num_shards: int) -> str:
        """Python that opens the view."""
        urls = f"{folder}/{self.pattern(num_shards)}"
        return f'webdataset.WebDataset("{urls}", shardshuffle=False).decode("pil")'


class HubLayout(Layout):
    """A data set as a model hub has it, for `datasets`: the card declares files and columns, so nothing is guessed."""

    name = "hf"
    folder = "data/"

    def path(self, number: int, source: ShardSource) -> str:
        """Where shard `number` lies; samples of a tabular source are a table."""
        ending = "parquet" if source.is_tabular else "tar"
        return f"{self.folder}{number:0{KEY_DIGITS}d}.{ending}"

    def finish(self, target: TargetFolder, source: ShardSource, shards: Sequence[ViewShard]) -> None:
        """Write the card."""
        from yaml import safe_dump

        configs = [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": f"data/*.{'parquet' if source.is_tabular else 'tar'}"}],
            }
        ]
        block = safe_dump({"configs": configs, "dataset_info": {"features": source.features}}, sort_keys=False)
        num_samples = sum(shard.num_samples for shard in shards)
        holder = f"{source.holder.stage}/{source.holder.short}"
        text = f"{num_samples:,} samples in {len(shards):,} files. The bytes are those of {holder}.\n"
        write_text(target, "README.md", f"---\n{block}---\n\n{text}")

    def snippet(self, folder: str, num_shards: int) -> str:
        """Python that opens the view."""
        del num_shards
        return f'datasets.load_dataset("{folder}", split="train")'


class EnergonLayout(Layout):
    """A prepared data set of Megatron-Energon: tars, the first byte of each sample, and the folder `.nv-meta`."""

    name = "energon"

    def beside(self, target: TargetFolder, source: ShardSource, shard: ViewShard, number: int) -> None:
        """Write the first byte of each sample, and of the end of the last, as 64-bit numbers."""
        path = target.path / self.path(number, source)
        final = path.with_name(f"{path.name}.idx")
        if final.exists():
            return
        starts = source.starts(shard) if shard.tar is not None else None
        places = [*(starts if starts is not None else tar_starts(path))]
        ends = path.stat().st_size - 2 * BLOCK_BYTES
        draft = target.partial / final.name
        draft.write_bytes(struct.pack(f"<{len(places) + 1}Q", *places, ends))
        draft.replace(final)

    def finish(self, target: TargetFolder, source: ShardSource, shards: Sequence[ViewShard]) -> None:
        """Write `.nv-meta`: all samples are of the split `train`."""
        from yaml import safe_dump

        counts = {self.path(number, source): shard.num_samples for number, shard in enumerate(shards)}
        splits = {"split_parts": {"train": [self.pattern(len(shards))], "val": [], "test": []}, "exclude": []}
        info = {"energon_version": ENERGON_VERSION, "shard_counts": counts}
        write_text(target, ".nv-meta/dataset.yaml", safe_dump(dict(source.energon), sort_keys=False))
        write_text(target, ".nv-meta/split.yaml", safe_dump(splits, sort_keys=False))
        write_text(target, ".nv-meta/.info.json", json.dumps(info, indent=2) + "\n")

    def snippet(self, folder: str, num_shards: int) -> str:
        """Python that opens the view."""
        del num_shards
        workers = "megatron.energon.WorkerConfig(0, 1)"
        return f'megatron.energon.get_train_dataset("{folder}", batch_size=1, worker_config={workers})'


def tar_starts(path: Path) -> list[int]:
    """The first byte of each sample of a tar of ours, by the headers of its members alone."""
    starts: list[int] = []
    last = b""
    with path.open("rb") as file:
        while (header := file.read(BLOCK_BYTES)).strip(b"\0"):
            key = header[:NAME_BYTES].rstrip(b"\0").partition(b".")[0]
            if key != last:
                starts.append(file.tell() - BLOCK_BYTES)
            last = key
            size_bytes = int(header[SIZE_DIGITS], 8)
            file.seek(size_bytes + -size_bytes % BLOCK_BYTES, os.SEEK_CUR)
    return starts


LAYOUTS: Final[dict[str, Layout]] = {
    layout.name: layout for layout in (WebDatasetLayout(), HubLayout(), EnergonLayout())
}
"""Layouts by the name of their option."""
