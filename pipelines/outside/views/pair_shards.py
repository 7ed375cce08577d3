"""Shards of image-text pairs: the downloaded tars, or what verdicts left of them with the captions that they gave.

A tar is linked where all its pairs are kept as they were downloaded. Of pairs that share a picture, the tar holds the
first; the others are written into a shard behind. Where a pair was dropped, or has a new caption, the kept ones are
written.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pipelines.outside.views.shards import Members, ShardSource, ViewShard
from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import COLUMNS_FILE, PAIRS_FILE, KeptPairs, RawPairs
from stages.download.raw_pairs import RESERVED_COLUMNS
from stages.formats.pairs import PairReader, StoredImage
from stages.formats.tar import BLOCK_BYTES
from stages.origins.json_values import json_rows

if TYPE_CHECKING:
    import pyarrow as pa

FACTS = ("sample_id", "url", "caption", "sha256", "width_px", "height_px")
"""What the json member of every pair says, whatever further columns it has."""
SAMPLE_BYTES = 3 * BLOCK_BYTES + 2 * BLOCK_BYTES
"""Bytes of a sample in a tar beside its picture: three headers, a caption and its facts."""
MADE_HERE = ("position",)


class PairShards(ShardSource):
    """The pairs of RawPairs or KeptPairs as samples `{key}.jpg`, `{key}.json`, `{key}.txt`."""

    energon: ClassVar = {
        "sample_type": {"__module__": "megatron.energon", "__class__": "CaptioningSample"},
        "field_map": {"image": "jpg", "caption": "txt"},
    }

    def __init__(self, pairs: RawPairs | KeptPairs) -> None:
        self.reader = PairReader(pairs)

    @property
    def holder(self) -> Artifact:
        """The artifact whose files are the tars that are linked."""
        return self.reader.raw

    @property
    def features(self) -> list[dict[str, Any]]:
        """The columns that `datasets` makes of the samples."""
        kinds = {"jpg": "image", "json": "json", "txt": "string", "__key__": "string"}
        return [{"name": name, "dtype": kind} for name, kind in kinds.items()]

    def shards(self) -> Iterator[ViewShard]:
        """A shard for each part with kept pairs, then one for each part in which pairs share a picture."""
        rests: list[ViewShard] = []
        for part in self.reader.parts:
            table = self.reader.read_table(part, ["image_offset", "image_size_bytes"])
            if not table.num_rows:
                continue
            offsets, sizes = table["image_offset"].to_pylist(), table["image_size_bytes"].to_pylist()
            if not self._is_as_downloaded(part, table.num_rows):
                yield ViewShard(part, table.num_rows, None, sum(sizes) + table.num_rows * SAMPLE_BYTES)
                continue
            is_rest = _repeats(offsets).to_pylist()
            num_rest, rest_bytes = sum(is_rest), sum(size for size, rest in zip(sizes, is_rest, strict=True) if rest)
            yield ViewShard(part, table.num_rows - num_rest, self.reader.raw.part(part).file(PAIRS_FILE))
            if num_rest:
                rests.append(ViewShard(part, num_rest, None, rest_bytes + num_rest * SAMPLE_BYTES, is_rest=True))
        yield from rests

    def samples(self, shard: ViewShard, number: int) -> Iterator[tuple[str, Members]]:
        """The pairs of a shard with the bytes of their pictures; neighbours in a tar are one read."""
        del number  # pairs have keys of their own
        table = _keyed(self.reader.read_table(shard.part))
        if shard.is_rest:
            table = table.filter(_repeats(table["image_offset"].to_pylist()))
        carried = [name for name in table.column_names if name not in {*RESERVED_COLUMNS, *MADE_HERE}]
        further = json_rows(table.select(carried))[0] if carried else [{}] * table.num_rows
        rows = table.select(["key", *FACTS, "image_offset", "image_size_bytes"]).to_pylist()
        images = [_image(row, shard.part) for row in rows]
        read = self.reader.images.together(images, ahead=self.reader.raw.store.folder is None)
        for row, more, image in zip(rows, further, read, strict=True):
            facts = {name: _spelled(row[name]) for name in FACTS} | more
            text = json.dumps(facts, sort_keys=True, ensure_ascii=False, allow_nan=False)
            yield row["key"], {"jpg": image, "json": text.encode(), "txt": row["caption"].encode()}

    def starts(self, shard: ViewShard) -> Sequence[int] | None:
        """The first byte of each sample: the header of its picture, which is its first member."""
        offsets = self.reader.read_table(shard.part, ["image_offset"])["image_offset"].to_pylist()
        return [offset - BLOCK_BYTES for offset in sorted(set(offsets))]

    def _is_as_downloaded(self, part: str, num_kept: int) -> bool:
        """Whether the pairs of a part that are kept are all that were downloaded, with their own captions."""
        given = [entry.name for judge in self.reader.judges for entry in judge.part(part).files]
        return num_kept == self.reader.raw.part(part).items.kept and COLUMNS_FILE not in given


def _keyed(table: pa.Table) -> pa.Table:
    """The pairs of a part in the order of their keys, each with a key of its own.

    In the table, pairs that share a picture have one key: of three, `0000000007`, `0000000007-0001` and
    `0000000007-0002` are made.
    """
    import pyarrow as pa

    seen: Counter[str] = Counter()
    keys: list[str] = []
    for key in table["key"].to_pylist():
        keys.append(f"{key}-{seen[key]:04d}" if seen[key] else key)
        seen[key] += 1
    return table.set_column(table.column_names.index("key"), "key", pa.array(keys, pa.string())).sort_by("key")


def _repeats(offsets: Sequence[int]) -> pa.BooleanArray:
    """Whether each picture lies where that of an earlier pair does."""
    import pyarrow as pa

    first = {offset: number for number, offset in reversed([*enumerate(offsets)])}
    return pa.array([first[offset] != number for number, offset in enumerate(offsets)], pa.bool_())


def _image(row: Mapping[str, Any], part: str) -> StoredImage:
    return StoredImage(row["sample_id"], row["sha256"], row["image_offset"], row["image_size_bytes"], part)


def _spelled(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value
