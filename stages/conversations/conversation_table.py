"""Reads the records of one part and writes their table `conversations.parquet`.

Owns the columns of that table. A sample id is hashed from the record as it is spelled in `records.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from stages.contract import ItemBalance, PartRecord
from stages.conversations.names.clip_names import FoundClip
from stages.conversations.names.picture_names import FoundImage
from stages.conversations.reading import Conversation, ParsedRecord, finish
from stages.conversations.reasons import ConversationReason, UnreadableRecordError
from stages.conversations.records import RECORD, read_record
from stages.conversations.videos.references import VideoReference
from stages.formats.sample_table import sample_id_type, verdict_columns
from stages.origins.sample_id import sample_id

if TYPE_CHECKING:
    import pyarrow as pa

    from stages.conversations.image_references import Record
    from stages.origins.row_parts import PartRows

FindImages: TypeAlias = Callable[[Collection[str]], Mapping[str, FoundImage]]
"""Names of pictures to what was collected under them; names under which nothing was are left out."""
FindClips: TypeAlias = Callable[[Collection[VideoReference]], Mapping[VideoReference, FoundClip]]
"""Videos, or stretches of them, each to the clip that is meant, or to why there is none."""
Entry: TypeAlias = ParsedRecord | ConversationReason
"""A record that was read, or the reason why it cannot be used."""


def parse_rows(table: pa.Table, parse: Callable[[Record], ParsedRecord]) -> list[Entry]:
    """The rows of a part, as `compact_table` spells them, each read or with the reason why it cannot be used."""
    entries: list[Entry] = []
    for text in table.column(RECORD).to_pylist():
        try:
            record = None if text is None else read_record(text)
            if record is None:
                reason = ConversationReason.MALFORMED_ROW if text is None else ConversationReason.ENCODING
                raise UnreadableRecordError(reason)
            entries.append(parse(record))
        except UnreadableRecordError as error:
            entries.append(error.reason)
        except RecursionError:
            entries.append(ConversationReason.SCHEMA)  # lists in lists, hundreds deep
    return entries


def row_ids(rows: PartRows, source: str) -> list[bytes]:
    """The sample ids of the rows of a part, of the source of this name."""
    texts = rows.table.column(RECORD).cast("binary").to_pylist()
    return [sample_id(source, [text], rows.ordinals.get(number, 0)) for number, text in enumerate(texts)]


def finish_all(
    entries: Sequence[Entry],
    find_images: FindImages,
    find_clips: FindClips | None = None,
    *,
    is_trained_on: bool,
) -> list[Conversation]:
    """The conversations of all entries; their pictures and their clips are looked up at once.

    Without `find_clips` no clips were given, and records about videos are dropped.
    """
    read = [entry for entry in entries if isinstance(entry, ParsedRecord)]
    names = {name for entry in read for name in entry.image_names}
    videos = {video for entry in read for video in entry.videos}
    images = find_images(names) if names else {}
    clips = find_clips(videos) if find_clips is not None and videos else {}
    return [
        finish(
            entry,
            [images.get(name) for name in entry.image_names],
            [clips.get(video) for video in entry.videos],
            is_trained_on=is_trained_on,
        )
        if isinstance(entry, ParsedRecord)
        else Conversation(entry)
        for entry in entries
    ]


def dropped_for(conversation: Conversation, reason: ConversationReason) -> Conversation:
    """A conversation that is not kept for a reason outside of it; a reason of its own comes first."""
    return (
        conversation
        if conversation.reason
        else replace(conversation, reason=reason, image_ids=(), clip_ids=(), video_style=None)
    )


def kept_or_lost(record: PartRecord) -> PartRecord:
    """A part's record without the rows of the other split, which are not lost."""
    dropped = {name: number for name, number in record.items.dropped.items() if name != ConversationReason.OTHER_SPLIT}
    items = ItemBalance(kept=record.items.kept, dropped=dropped, failed=record.items.failed)
    return record.model_copy(update={"items": items})


def conversation_table(ids: Sequence[bytes], conversations: Sequence[Conversation]) -> pa.Table:
    """The table of one part: sample ids and conversations, a row each."""
    import pyarrow as pa

    message = pa.struct(
        [
            ("role", pa.string()),
            ("content", pa.string()),
            ("supervised", pa.bool_()),
            ("image_tags", pa.list_(pa.int32())),
            ("video_tags", pa.list_(pa.int32())),
        ]
    )
    messages = [
        [{name: getattr(said, name) for name in message.names} for said in conversation.messages]
        for conversation in conversations
    ]
    return pa.table(
        {
            "sample_id": pa.array(ids, sample_id_type()),
            "image_ids": pa.array(
                [conversation.image_ids for conversation in conversations], pa.list_(sample_id_type())
            ),
            "clip_ids": pa.array([conversation.clip_ids for conversation in conversations], pa.list_(sample_id_type())),
            "video_style": pa.array([conversation.video_style for conversation in conversations], pa.string()),
            "messages": pa.array(messages, pa.list_(message)),
            "kind": pa.array([conversation.kind for conversation in conversations], pa.string()),
            "answer": pa.array([conversation.answer for conversation in conversations], pa.string()),
            "options": pa.array([conversation.options for conversation in conversations], pa.list_(pa.string())),
            "id": pa.array([conversation.record_id for conversation in conversations], pa.string()),
            "missing_images": pa.array(
                [conversation.missing_images for conversation in conversations], pa.list_(pa.string())
            ),
            "missing_clips": pa.array(
                [conversation.missing_clips for conversation in conversations], pa.list_(pa.string())
            ),
            **verdict_columns([conversation.reason for conversation in conversations]),
        }
    )
