"""Shards of clips: the tars as they were cut, or the clips of them that verdicts kept."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import Any

from pipelines.outside.views.shards import Members, ShardSource, ViewShard
from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import CLIPS_FILE, COLUMNS_FILE, KeptClips, RawClips
from stages.formats.clip_reader import ClipReader


class ClipShards(ShardSource):
    """The clips of RawClips or KeptClips, with the members that they have in the store."""

    def __init__(self, clips: RawClips | KeptClips) -> None:
        self.reader = ClipReader(clips)

    @property
    def holder(self) -> Artifact:
        """The artifact whose files are the tars that are linked."""
        return self.reader.raw

    @property
    def features(self) -> list[dict[str, Any]]:
        """The columns that `datasets` makes of a clip: the frames of the longest, or its packets; text and facts."""
        most = 0
        for part in self.reader.parts:
            offsets = self.reader.read_table(part, ["frame_offsets"])["frame_offsets"].to_pylist()
            most = max([most, *(len(frames or ()) for frames in offsets)])
        pictures = [{"name": f"{number:05d}.jpg", "dtype": "image"} for number in range(most)]
        kinds = {"mp4": "binary", "json": "json", "txt": "string", "__key__": "string"}
        return [*pictures, *({"name": name, "dtype": kind} for name, kind in kinds.items())]

    def shards(self) -> Iterator[ViewShard]:
        """A shard for each part with kept clips."""
        for part in self.reader.parts:
            num_kept = self.reader.read_table(part, []).num_rows
            tar, raw = self.reader.raw.part(part).file(CLIPS_FILE), self.reader.raw.part(part)
            given = [entry.name for judge in self.reader.judges for entry in judge.part(part).files]
            if num_kept:
                is_whole = num_kept == raw.items.kept and COLUMNS_FILE not in given
                least_bytes = tar.size_bytes * num_kept // max(raw.items.kept, 1)
                yield ViewShard(part, num_kept, tar) if is_whole else ViewShard(part, num_kept, None, least_bytes)

    def samples(self, shard: ViewShard, number: int) -> Iterator[tuple[str, Members]]:
        """The kept clips of a part, member by member as they were cut, with the captions that verdicts gave them.

        The tar is read from its beginning to its end.
        """
        del number  # clips have keys of their own
        rows = self.reader.read_table(shard.part, ["key", "caption"])
        captions = dict(zip(rows["key"].to_pylist(), rows["caption"].to_pylist(), strict=True))
        raw = self.reader.raw
        with raw.open(raw.part(shard.part).file(CLIPS_FILE)) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            members: dict[str, bytes] = {}
            last = ""
            for member in tar:
                key, _, ending = member.name.partition(".")
                if key != last and members:
                    yield last, members | {"txt": captions[last].encode()}
                    members = {}
                last = key
                file = tar.extractfile(member) if key in captions else None
                if file is not None:
                    members[ending] = file.read()
            if members:
                yield last, members | {"txt": captions[last].encode()}
