"""Reads conversations, with or without pictures, in the forms in which people have them.

Reads  a source               JSON, JSONL, Parquet or CSV of LLaVA, ShareGPT, OpenAI or Qwen records, one form a table
       KeptPairs or RawPairs  `pictures`, whose `url` is the name by which a record refers to a picture; None where all
                              is text
       KeptClips or RawClips  `clips`, whose `reference` is the name by which a record refers to a video; None where
                              records about videos are dropped
Makes  Conversations          parts: conversations.parquet, a row for each record, with its verdict

A record has turns, called `messages` here, or is one question and its answer. Its pictures and videos are in fields
(`image`, `images`, `video`, ...) or in the turns; what people call these is known, or said by `columns` and
`turn_fields`. `stages/conversations/README.md` lists what is read and what is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from neo_model.inputs.video_text import VideoStyle
from stages.artifacts.kinds import CONVERSATIONS_FILE, Conversations, KeptClips, KeptPairs, RawClips, RawPairs
from stages.contract import Part, PartDraft, Recipe, Source, StageContext, conduct, stage
from stages.conversations.conversation_table import (
    conversation_table,
    dropped_for,
    finish_all,
    kept_or_lost,
    parse_rows,
    row_ids,
)
from stages.conversations.dialects import Dialect, find_dialect
from stages.conversations.flat_questions import parse_pair
from stages.conversations.names.clip_names import CLIP_PHASES, ClipNames, index_clips
from stages.conversations.names.picture_names import PICTURE_PHASES, PictureNames, index_pictures
from stages.conversations.placeholders import PlacingRule
from stages.conversations.reading import ParsedRecord, ReadingLimits, parse_record
from stages.conversations.reasons import ConversationReason
from stages.conversations.records import check_columns
from stages.conversations.source_rows import columns_of, look_at, wanted_rows
from stages.conversations.spatial.cameras import CameraField
from stages.formats.losses import MAX_SHARE_LOST, check_losses, examples_of
from stages.formats.sample_table import balance_of, write_table
from stages.origins.columns import match_columns
from stages.origins.row_parts import ROW_PHASES, PartRowReader, tabulate

if TYPE_CHECKING:
    from stages.conversations.image_references import Record


class ReadConversationsRecipe(Recipe):
    """Which conversations are read, and how large one may be."""

    source: Source
    """The table of conversations."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Name here to name in the table, where it is another than people usually write: `{"messages": "dialog"}`. Read are
    `messages` (the turns), or `question`, `options` and `answer`; `images`, `videos`, `start`, `end`, `id`, `system`,
    `kind`, `width`, `height`, `bboxes`."""
    turn_fields: dict[Literal["role", "content"], str] = Field(default_factory=dict)
    """Field of a turn that says who speaks (`role`), and the one that holds what is said (`content`), where they are
    neither `role` and `content` nor `from` and `value`."""
    heldout_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the table that is held out. Which conversations these are follows from their sample ids alone, so a step
    of each `split` with the same share has the table between them."""
    split: Literal["train", "heldout"] = "train"
    """Conversations to train on, or held-out ones, which are questions: their last turn is the right answer."""
    num_conversations_per_part: int = Field(default=6000, ge=1, le=1_000_000)
    """Rows of the table in one part."""
    max_conversation_chars: int = Field(default=200_000, ge=1)
    """Longest conversation, in characters of all messages."""
    max_images: int = Field(default=64, ge=0)
    """Most pictures in one conversation, without those that are the frames of a video."""
    max_videos: int = Field(default=16, ge=0)
    """Most videos in one conversation."""
    max_frames: int = Field(default=256, ge=1)
    """Most frames of a video that is given as its frames; a video that is given as a file has those of its clip."""
    video_prefix: str = ""
    """Beginning of the paths of videos in the table that the names of the clips do not have, such as `/data/films/`."""
    video_folder: str = ""
    """Beginning of the names of the clips that the paths of videos in the table do not have, such as `films/`: a clip
    of a folder is called by its path in the folder, one of a list as the list calls its video."""
    video_style: VideoStyle = "timestamps"
    """How the frames of a video are announced in the text: each on a line with its time below a line about the length
    (`timestamps`), without any (`bare`), as spatial questions are asked (`spatial`), or by running numbers
    (`numbered`)."""
    untagged_first: bool = False
    """Whether several pictures of a record whose text has no place for any stand before its first question, a line
    each, as SPAR-7M means it. If not, such a record is dropped."""
    cameras: tuple[CameraField, ...] = ()
    """What of a record's camera data is written before its first question, as numbers: `intrinsics`, `poses`, `depths`.
    A record without it is dropped. Where a text has places for it (`<pose>`), it is written there in any case."""
    max_share_lost: float = conduct(MAX_SHARE_LOST, ge=0, le=1)
    """Largest share of conversations that may be lost for one reason before the step fails. Those of the other split
    are not counted."""

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        check_columns(self.columns)
        if self.split == "heldout" and self.heldout_share == 0:
            raise ValueError("split='heldout' needs a heldout_share above 0, the same as that of the step that trains")
        return self

    @property
    def limits(self) -> ReadingLimits:
        """How large a conversation may be."""
        return ReadingLimits(
            max_chars=self.max_conversation_chars,
            max_images=self.max_images,
            max_videos=self.max_videos,
            max_frames=self.max_frames,
        )

    @property
    def rule(self) -> PlacingRule:
        """What is done where records leave open how their pictures and videos become text."""
        return PlacingRule(video_style=self.video_style, untagged_first=self.untagged_first, cameras=self.cameras)


def is_of_split(sample_id: bytes, recipe: ReadConversationsRecipe) -> bool:
    """Whether the conversation with this sample id belongs to the recipe's split."""
    is_held_out = int.from_bytes(sample_id[:8], "big") < recipe.heldout_share * 2**64
    return is_held_out == (recipe.split == "heldout")


def read_part(
    part: Part,
    draft: PartDraft,
    *,
    recipe: ReadConversationsRecipe,
    dialect: Dialect | None,
    reader: PartRowReader,
    pictures: PictureNames,
    clips: ClipNames | None,
) -> None:
    """Read the rows of one part into `conversations.parquet`; without a dialect a row is a question and its answer."""
    rows = reader.read(part)
    ids = row_ids(rows, recipe.source.name)
    parse: Callable[[Record], ParsedRecord]
    if dialect is None:
        parse = partial(parse_pair, limits=recipe.limits, rule=recipe.rule)
    else:
        parse = partial(parse_record, dialect=dialect, limits=recipe.limits, rule=recipe.rule)
    entries = parse_rows(rows.table, parse)
    for number, sample_id in enumerate(ids):
        if not is_of_split(sample_id, recipe):
            entries[number] = ConversationReason.OTHER_SPLIT
    find_clips = None if clips is None else clips.find
    conversations = finish_all(entries, pictures.find, find_clips, is_trained_on=recipe.split == "train")
    for number in rows.ordinals:
        conversations[number] = dropped_for(conversations[number], ConversationReason.REPEATED_ROW)
    table = conversation_table(ids, conversations)
    write_table(table, draft.path(CONVERSATIONS_FILE))
    draft.fact(**examples_of(table, ["id", "missing_images", "missing_clips", "messages"], rows.first_row))
    draft.count(balance_of(table))


def needed_columns(found: Sequence[str], columns: Mapping[str, str], source: str) -> list[str]:
    """What a table of these columns must have: turns, or, where it has none, a question and its answer."""
    where = f"source {source!r}"
    if match_columns(["messages"], found, columns, optional=["messages"], where=where):
        return ["messages"]
    pair = ["question", "answer"]
    return pair if len(match_columns(pair, found, columns, optional=pair, where=where)) == 2 else ["messages"]


@stage(
    number=4,
    recipe=ReadConversationsRecipe,
    makes=Conversations,
    accepts=(3,),
    phases=(*ROW_PHASES, *PICTURE_PHASES, *CLIP_PHASES, "read"),
)
def read_conversations(
    recipe: ReadConversationsRecipe,
    pictures: KeptPairs | RawPairs | None,
    clips: KeptClips | RawClips | None,
    *,
    ctx: StageContext,
) -> None:
    """Read the conversations in parts of consecutive rows.

    Memory: the records of a part without image bytes, and of the pictures' names what those records refer to.
    """
    pinned = ctx.pinned(recipe.source)
    needed = needed_columns(columns_of(pinned), recipe.columns, recipe.source.name)
    wanted = wanted_rows(needed, recipe.columns, recipe.num_conversations_per_part)
    records = look_at(pinned, wanted).records
    dialect = find_dialect(records, recipe.turn_fields, recipe.source.name) if "messages" in needed else None
    rows = tabulate(ctx, pinned, wanted)
    work = partial(
        read_part,
        recipe=recipe,
        dialect=dialect,
        reader=rows.reader,
        pictures=index_pictures(ctx, pictures),
        clips=index_clips(ctx, clips, prefix=recipe.video_prefix, folder=recipe.video_folder),
    )
    read = ctx.spread(work, over=rows.parts, phase="read")
    check_losses(map(kept_or_lost, read), recipe.max_share_lost, items="conversations")
