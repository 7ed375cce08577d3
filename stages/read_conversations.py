"""Reads conversations, with or without pictures, and finds their pictures among the kept pairs.

Reads  a table        Parquet with `id`, `images` (URLs), `messages` (role, content) and, of questions, `kind` and
                      `answer`, from the recipe's origin
       KeptPairs or RawPairs, `pictures`: leads from a URL to a sample id
Makes  Conversations  parts: conversations.parquet, a row for each conversation
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import Field

from neo_model.inputs.conversation import IMAGE_PLACEHOLDER
from stages.artifacts.kinds import CONVERSATIONS_FILE, Conversations, KeptPairs, RawPairs
from stages.contract import Part, PartDraft, Recipe, StageContext, StageError, stage
from stages.formats.pairs import PairReader
from stages.formats.sample_table import ItemReason, Verdict, balance_of, sample_id_type, verdict_columns, write_table
from stages.origins.clean_text import TextEncodingError, clean_text
from stages.origins.origin import Split, read_conversation_table, source_name
from stages.origins.slices import Fields, RowSlice, sample_id, slice_rows
from stages.toy_world.world import ToyWorld

if TYPE_CHECKING:
    import pyarrow as pa


class ReadConversationsRecipe(Recipe):
    """Which conversations are read, and how large one may be."""

    origin: ToyWorld
    """Where the conversations come from."""
    split: Split = "train"
    """Conversations to train on, or held-out questions whose last turn is the true answer."""
    num_conversations_per_part: int = Field(default=6000, ge=1, le=1_000_000)
    """Rows of the table in one part."""
    max_conversation_chars: int = Field(default=200_000, ge=1)
    """Longest conversation, in characters of all messages."""
    max_images: int = Field(default=64, ge=0)
    """Most pictures in one conversation."""


class ConversationReason(ItemReason):
    """Why a conversation was not kept: a closed list."""

    REPEATED_ROW = "repeated_row"
    """An earlier row holds the same conversation, id included."""
    ENCODING = "encoding"
    """A message is not valid UTF-8."""
    ROLES = "roles"
    """After at most one system message, user and assistant do not alternate, or the assistant is not last."""
    MESSAGE_EMPTY = "message_empty"
    """A message has no text except placeholders of pictures."""
    PLACEHOLDERS = "placeholders"
    """It has more or fewer placeholders than pictures, or a placeholder outside the user's messages."""
    TOO_LONG = "too_long"
    """All messages together have more than `max_conversation_chars` characters."""
    TOO_MANY_IMAGES = "too_many_images"
    """It has more than `max_images` pictures."""
    IMAGE_MISSING = "image_missing"
    """A picture was not downloaded, or not kept."""
    SCHEMA = "schema", Verdict.FAILED
    """The id, a message, a part of a message or a URL is null."""


FindImage: TypeAlias = Callable[[str], bytes | None]
"""URL to sample id, or None where no kept picture has it."""
Row: TypeAlias = dict[str, Any]
"""One row of the table, all text as bytes."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """The result of reading one row. Text that could not be read is absent."""

    reason: ConversationReason | None
    """Why the conversation is not kept; None where it is."""
    messages: tuple[dict[str, str], ...] = ()
    """Cleaned messages, with `role` and `content`."""
    image_ids: tuple[bytes, ...] = ()
    """Sample ids of the pictures, in order; empty where the conversation is not kept."""
    kind: str | None = None
    """Kind of a question, else None."""
    answer: str | None = None
    """True answer of a question, else None."""


def read_conversation(
    row: Row, recipe: ReadConversationsRecipe, find_image: FindImage, *, is_repeat: bool = False
) -> Conversation:
    """Clean and judge one row, and look up its pictures; `is_repeat` says that an earlier row is equal."""
    if not is_whole(row):
        return Conversation(ConversationReason.SCHEMA)
    try:
        messages = tuple({name: clean_text(text) for name, text in message.items()} for message in row["messages"])
        urls = [url.decode() for url in row["images"] or ()]
        kind, answer = (None if row.get(name) is None else clean_text(row[name]) for name in ("kind", "answer"))
    except (TextEncodingError, UnicodeDecodeError):
        return Conversation(ConversationReason.ENCODING)
    image_ids = [find_image(url) for url in urls]
    reason = trouble(messages, len(urls), recipe)
    if reason is None and is_repeat:
        reason = ConversationReason.REPEATED_ROW
    if reason is None and None in image_ids:
        reason = ConversationReason.IMAGE_MISSING
    kept_ids = () if reason else tuple(image_id for image_id in image_ids if image_id is not None)
    return Conversation(reason, messages, kept_ids, kind, answer)


def is_whole(row: Row) -> bool:
    """Whether all of a row that must be text is not null: its id, its messages and its URLs."""
    messages = row["messages"]
    if row["id"] is None or messages is None or None in messages or None in (row["images"] or ()):
        return False
    return all(text is not None for message in messages for text in message.values())


def trouble(
    messages: Sequence[dict[str, str]], num_images: int, recipe: ReadConversationsRecipe
) -> ConversationReason | None:
    """The first reason why cleaned messages about `num_images` pictures are not kept, or None."""
    turns = messages[1:] if messages and messages[0]["role"] == "system" else messages
    if not turns or [turn["role"] for turn in turns] != ["user", "assistant"] * (len(turns) // 2):
        return ConversationReason.ROLES
    if not all(message["content"].replace(IMAGE_PLACEHOLDER, "").strip() for message in messages):
        return ConversationReason.MESSAGE_EMPTY
    if sum(len(message["content"]) for message in messages) > recipe.max_conversation_chars:
        return ConversationReason.TOO_LONG
    if num_images > recipe.max_images:
        return ConversationReason.TOO_MANY_IMAGES
    placeholders: Counter[str] = Counter()
    for message in messages:
        placeholders[message["role"]] += message["content"].count(IMAGE_PLACEHOLDER)
    if placeholders.total() != num_images or placeholders["user"] != num_images:
        return ConversationReason.PLACEHOLDERS
    return None


def read_rows(table: pa.Table) -> list[Row]:
    """The rows with all text as bytes, because text in Parquet need not be UTF-8.

    Raises `StageError` where a column is missing or has another type.
    """
    import pyarrow as pa

    message = pa.struct([("role", pa.binary()), ("content", pa.binary())])
    kinds = {"id": pa.binary(), "images": pa.list_(pa.binary()), "messages": pa.list_(message)}
    kinds |= {name: pa.binary() for name in ("kind", "answer") if name in table.column_names}
    try:
        rows: list[Row] = table.select(list(kinds)).cast(pa.schema(kinds)).to_pylist()
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise StageError(f"the table of conversations has {table.schema.names}, not what is needed: {error}") from error
    return rows


def conversation_fields(row: Row) -> Fields:
    """The bytes from which the sample id of a row is computed: its id, number and URLs of pictures, and messages."""
    images, messages = row["images"] or [], row["messages"] or []
    spoken = [text for message in messages for text in (message or {}).values()]
    return [row["id"], str(len(images)).encode(), *images, *spoken]


def conversation_table_of(
    rows: Sequence[Row], repeats: Mapping[int, int], recipe: ReadConversationsRecipe, find_image: FindImage
) -> pa.Table:
    """The conversation table of one slice; `repeats` maps its repeated rows to ordinals (1, 2, ...)."""
    import pyarrow as pa

    source = source_name("conversations", recipe.split)
    read = [read_conversation(row, recipe, find_image, is_repeat=number in repeats) for number, row in enumerate(rows)]
    ids = [sample_id(source, conversation_fields(row), repeats.get(number, 0)) for number, row in enumerate(rows)]
    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    return pa.table(
        {
            "sample_id": pa.array(ids, sample_id_type()),
            "image_ids": pa.array([conversation.image_ids for conversation in read], pa.list_(sample_id_type())),
            "messages": pa.array([conversation.messages for conversation in read], pa.list_(message)),
            "kind": pa.array([conversation.kind for conversation in read], pa.string()),
            "answer": pa.array([conversation.answer for conversation in read], pa.string()),
            **verdict_columns([conversation.reason for conversation in read]),
        }
    )


def read_part(part: Part, draft: PartDraft, recipe: ReadConversationsRecipe, pictures: KeptPairs | RawPairs) -> None:
    """Read one slice of the table into `conversations.parquet`."""
    here = RowSlice.of(part)
    rows = read_rows(read_conversation_table(recipe.origin, recipe.split, here.start, here.stop))
    table = conversation_table_of(rows, here.repeats, recipe, PairReader(pictures).sample_id_of)
    write_table(table, draft.path(CONVERSATIONS_FILE))
    draft.count(balance_of(table))


@stage(number=1, recipe=ReadConversationsRecipe, makes=Conversations)
def read_conversations(recipe: ReadConversationsRecipe, pictures: KeptPairs | RawPairs, *, ctx: StageContext) -> None:
    """Read the conversations in parts of consecutive rows."""
    rows = read_rows(read_conversation_table(recipe.origin, recipe.split))
    parts = slice_rows(map(conversation_fields, rows), recipe.num_conversations_per_part)
    ctx.spread(partial(read_part, recipe=recipe, pictures=pictures), over=parts, phase="read")
