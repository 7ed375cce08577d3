"""Writes the shards that the store has no file for: tars and tables, whole or not at all.

Each is written under another name and renamed, as copies are. Its bytes follow from the artifact alone.
"""

from __future__ import annotations

import os
from pathlib import Path

from pipelines.outside.target_folder import TargetFolder
from pipelines.outside.views.shards import ShardSource, ViewShard
from stages.formats.tar import TarWriter


def write_tar(source: ShardSource, shard: ViewShard, number: int, draft: Path) -> int:
    """Write the samples of a shard as a tar; returns their number."""
    num_written = 0
    with TarWriter(draft) as tar:
        for key, members in source.samples(shard, number):
            tar.add(key, members)
            num_written += 1
    return num_written


def write_parquet(source: ShardSource, shard: ViewShard, draft: Path) -> int:
    """Write the samples of a shard as a table; returns their number."""
    import pyarrow.parquet as pq

    num_written, writer = 0, None
    try:
        for table in source.tables(shard):
            writer = writer or pq.ParquetWriter(draft, table.schema, compression="zstd")
            writer.write_table(table)
            num_written += table.num_rows
    finally:
        if writer is not None:
            writer.close()
    return num_written


def write_shard(source: ShardSource, shard: ViewShard, number: int, target: TargetFolder, path: str) -> bool:
    """Write a shard at `path` in the folder, by the ending of its name; False where it is there already."""
    final = target.path / path
    if final.exists():
        return False
    draft = target.partial / final.name
    draft.unlink(missing_ok=True)
    is_table = path.endswith(".parquet")
    num_written = write_parquet(source, shard, draft) if is_table else write_tar(source, shard, number, draft)
    if num_written != shard.num_samples:
        raise AssertionError(f"{path}: {num_written} samples were written, the plan has {shard.num_samples}")
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    final.parent.mkdir(parents=True, exist_ok=True)
    draft.replace(final)
    return True


def write_text(target: TargetFolder, path: str, text: str) -> None:
    """Write a small file at `path` in the folder, whole or not at all; one that is there is replaced."""
    final = target.path / path
    final.parent.mkdir(parents=True, exist_ok=True)
    draft = target.partial / f"{final.name}.draft"
    draft.write_text(text)
    draft.replace(final)
