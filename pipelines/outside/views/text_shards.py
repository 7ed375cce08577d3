"""Shards of texts and of conversations, which the store keeps in tables with the verdict on each row: the kept ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pipelines.outside.views.shards import Members, ShardSource, ViewShard, sample_key
from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import CONVERSATIONS_FILE, Conversations, KeptTexts, TextDocuments
from stages.formats.judged.texts import TextReader
from stages.formats.pairs import pictures_of
from stages.formats.sample_table import Verdict, read_table

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE: Final = 64
"""Conversations whose pictures are in memory at one time."""


class TextShards(ShardSource):
    """The kept documents of TextDocuments or KeptTexts: `{key}.json` and `{key}.txt`, or columns of the same names."""

    energon: ClassVar = {
        "sample_type": {"__module__": "megatron.energon", "__class__": "TextSample"},
        "field_map": {"text": "txt"},
    }
    is_tabular = True

    def __init__(self, texts: TextDocuments | KeptTexts) -> None:
        self.reader = TextReader(texts)

    @property
    def holder(self) -> Artifact:
        """The artifact that the documents were read into."""
        return self.reader.raw

    @property
    def features(self) -> list[dict[str, Any]]:
        """The columns of the tables."""
        return [{"name": "sample_id", "dtype": "string"}, {"name": "text", "dtype": "string"}]

    def shards(self) -> Iterator[ViewShard]:
        """A shard for each part with kept documents."""
        for part in self.reader.parts:
            num_kept = self.reader.read_table(part, []).num_rows
            if num_kept:
                yield ViewShard(part, num_kept, None)

    def samples(self, shard: ViewShard, number: int) -> Iterator[tuple[str, Members]]:
        """The kept documents of a part."""
        for row, (sample_id, text) in enumerate(self.reader.texts_of(shard.part)):
            facts = json.dumps({"sample_id": sample_id.hex()})
            yield sample_key(number, row), {"json": facts.encode(), "txt": text.encode()}

    def tables(self, shard: ViewShard) -> Iterator[pa.Table]:
        """The kept documents of a part, at once."""
        import pyarrow as pa

        rows = list(self.reader.texts_of(shard.part))
        ids, texts = [sample_id.hex() for sample_id, _ in rows], [text for _, text in rows]
        yield pa.table({"sample_id": pa.array(ids, pa.string()), "text": pa.array(texts, pa.string())})


class ConversationShards(ShardSource):
    """The kept conversations: `{key}.json` with the messages and `{key}.00000.jpg` ..., or columns of the same sense.

    `<image>` in a message stands for a picture, in order. Of conversations about clips, the ids of the clips are given.
    """

    is_tabular = True

    def __init__(self, conversations: Conversations) -> None:
        self.conversations = conversations
        self.pictures = pictures_of(conversations)

    @property
    def holder(self) -> Artifact:
        """The artifact that holds the conversations."""
        return self.conversations

    @property
    def features(self) -> list[dict[str, Any]]:
        """The columns of the tables."""
        message = [{"name": "role", "dtype": "string"}, {"name": "content", "dtype": "string"}]
        return [
            {"name": "sample_id", "dtype": "string"},
            {"name": "messages", "list": message},
            {"name": "images", "list": "image"},
            {"name": "clip_ids", "list": "string"},
        ]

    def shards(self) -> Iterator[ViewShard]:
        """A shard for each part with kept conversations."""
        for record in self.conversations.parts:
            if record.items.kept:
                yield ViewShard(record.part, record.items.kept, None)

    def samples(self, shard: ViewShard, number: int) -> Iterator[tuple[str, Members]]:
        """The kept conversations of a part, with their pictures."""
        for row, (facts, images) in enumerate(self._read(shard)):
            members = {f"{place:05d}.jpg": image for place, image in enumerate(images)}
            yield sample_key(number, row), members | {"json": json.dumps(facts, ensure_ascii=False).encode()}

    def tables(self, shard: ViewShard) -> Iterator[pa.Table]:
        """The kept conversations of a part, `ROWS_AT_ONCE` at a time."""
        import pyarrow as pa

        text, message = pa.string(), pa.struct([("role", pa.string()), ("content", pa.string())])
        image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        schema = pa.schema(
            [
                ("sample_id", text),
                ("messages", pa.list_(message)),
                ("images", pa.list_(image)),
                ("clip_ids", pa.list_(text)),
            ]
        )
        rows: list[dict[str, Any]] = []
        for facts, images in self._read(shard):
            rows.append(facts | {"images": [{"bytes": one, "path": None} for one in images]})
            if len(rows) == ROWS_AT_ONCE:
                yield pa.Table.from_pylist(rows, schema=schema)
                rows = []
        if rows:
            yield pa.Table.from_pylist(rows, schema=schema)

    def _read(self, shard: ViewShard) -> Iterator[tuple[dict[str, Any], list[bytes]]]:
        """What each kept conversation of a part says, and its pictures."""
        table = read_table(self.conversations.read(self.conversations.part(shard.part).file(CONVERSATIONS_FILE)))
        for row in table.to_pylist():
            if row["verdict"] != Verdict.KEPT:
                continue
            messages = [{"role": said["role"], "content": said["content"]} for said in row["messages"]]
            clips = [clip.hex() for clip in row.get("clip_ids") or ()]
            images = [self.pictures.image(image) for image in row["image_ids"]]
            yield {"sample_id": row["sample_id"].hex(), "messages": messages, "clip_ids": clips}, images
