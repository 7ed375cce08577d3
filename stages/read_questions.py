"""Reads the questions of an evaluation set, in the forms in which people have them.

Reads  a source               VLMEvalKit's TSV (index, image, question, hint, A, B, ..., answer, category, split),
                              Parquet of a hub (image bytes, question, options, answer), or conversations whose last
                              turn is the right answer; or a benchmark in its authors' own file
       KeptPairs or RawPairs  `pictures`, whose `url` is the name by which a row refers to a picture; None where all is
                              text
       KeptClips or RawClips  `clips`, whose `reference` is the name by which a row refers to a video; None where there
                              are no questions about videos
Makes  Conversations          parts: conversations.parquet, a row for each question, with its verdict

A question becomes a conversation of one turn of the user and the right answer. Questions with options are asked in
VLMEvalKit's words (`stages/conversations/multiple_choice.py`), and their right answer is a letter. A `benchmark` is
asked in the words of NEO's authors (`stages/benchmarks/`). The column `scoring` says how answers are scored: choice,
exact, final, numeric, moves, or a rule of a public evaluation kit; `truths` holds all right answers, and `sets` the
sets of questions that a benchmark counts together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from neo_model.inputs.video_text import VideoStyle
from stages.artifacts.kinds import CONVERSATIONS_FILE, Conversations, KeptClips, KeptPairs, RawClips, RawPairs
from stages.benchmarks.benchmark import CHOICE_RULES, RULES, BenchmarkName, ScoringRule
from stages.benchmarks.catalog import BENCHMARKS
from stages.benchmarks.questions import first_collected, parse_benchmark_question
from stages.benchmarks.rows import missing_columns, question_table
from stages.contract import (
    FileEntry,
    Part,
    PartDraft,
    PinnedSource,
    Recipe,
    Source,
    StageContext,
    StageError,
    conduct,
    stage,
)
from stages.conversations.conversation_table import (
    Entry,
    FindClips,
    conversation_table,
    dropped_for,
    finish_all,
    kept_or_lost,
    parse_rows,
    row_ids,
)
from stages.conversations.dialects import Dialect, find_dialect
from stages.conversations.multiple_choice import CHOICE_ENDING
from stages.conversations.names.clip_names import CLIP_PHASES, ClipNames, index_clips
from stages.conversations.names.picture_names import PICTURE_PHASES, PictureNames, index_pictures
from stages.conversations.placeholders import PlacingRule
from stages.conversations.questions import (
    SHARED_FILE,
    SHARED_PHASE,
    QuestionForm,
    list_shared,
    load_shared,
    parse_question,
)
from stages.conversations.reading import ParsedRecord, ReadingLimits, parse_record
from stages.conversations.reasons import ConversationReason
from stages.conversations.records import RECORD, SETS, check_columns
from stages.conversations.source_rows import columns_of, look_at, wanted_rows
from stages.formats.losses import MAX_SHARE_LOST, check_losses, examples_of
from stages.formats.sample_table import balance_of, write_table
from stages.origins.columns import match_columns
from stages.origins.row_files import WantedRows
from stages.origins.row_parts import ROW_PHASES, PartRowReader, tabulate

if TYPE_CHECKING:
    import pyarrow as pa

    from stages.conversations.image_references import Record


class ReadQuestionsRecipe(Recipe):
    """Which questions are read, and how they are asked."""

    source: Source
    """The table of questions."""
    benchmark: BenchmarkName | None = None
    """Benchmark whose authors' own file the table is: its columns, its words and its scoring are known. None reads the
    forms that people usually have."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Name here to name in the table, where it is another than people usually write: `{"answer": "label"}`. Read are
    `question`, `image`, `hint`, `options` or `A`, `B`, ..., `answer`, `category`, `split`, `index`; or `messages`."""
    kind: str | None = Field(default=None, pattern=r"^[a-z0-9]+(_[a-z0-9]+)*$")
    """Kind of the questions whose rows do not say it, such as the task of MVBench whose file this is; None for none."""
    only_split: str | None = None
    """Value of the column `split` of the questions that are read; None reads all."""
    choice_ending: str = CHOICE_ENDING
    """Line behind the options of a question, by default VLMEvalKit's. A benchmark has its own."""
    open_ending: str = ""
    """Line behind a question without options, such as "Answer in a single word."; empty for none."""
    scoring: ScoringRule | None = None
    """Rule by which answers are scored, such as `anls`; a rule of choices is for the questions with options,
    another one for those without. None takes `choice` and `exact`. A benchmark has its own."""
    system_prompt: str | None = None
    """System message before each question; None takes that of the benchmark, or none."""
    video_style: VideoStyle = "timestamps"
    """How the frames of a video are announced in the text, as in `read_conversations`. A benchmark has its own."""
    num_questions_per_part: int = Field(default=1000, ge=1, le=1_000_000)
    """Rows of the table in one part."""
    max_question_chars: int = Field(default=200_000, ge=1)
    """Longest question, in characters."""
    max_images: int = Field(default=64, ge=0)
    """Most pictures of one question, without those that are the frames of a video."""
    max_share_lost: float = conduct(MAX_SHARE_LOST, ge=0, le=1)
    """Largest share of questions that may be lost for one reason before the step fails. Those of another `split` are
    not counted."""

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        check_columns(self.columns)
        own: dict[str, object] = {"columns": {}, "choice_ending": CHOICE_ENDING, "open_ending": "", "scoring": None}
        own["video_style"] = "timestamps"
        changed = [name for name, value in own.items() if getattr(self, name) != value]
        if self.benchmark and changed:
            raise ValueError(f"benchmark={self.benchmark!r} has its own {changed[0]}: leave {changed[0]} out")
        return self

    @property
    def limits(self) -> ReadingLimits:
        """How large a question may be."""
        return ReadingLimits(max_chars=self.max_question_chars, max_images=self.max_images)

    @property
    def form(self) -> QuestionForm:
        """How questions are asked, and which ones."""
        return QuestionForm(
            choice_ending=self.choice_ending,
            open_ending=self.open_ending,
            only_split=self.only_split,
            system_prompt=self.system_prompt,
            kind=self.kind,
            video_style=self.video_style,
        )


def read_part(
    part: Part,
    draft: PartDraft,
    *,
    recipe: ReadQuestionsRecipe,
    dialect: Dialect | None,
    reader: PartRowReader,
    pictures: PictureNames,
    clips: ClipNames | None,
    shared: tuple[FileEntry, ...],
) -> None:
    """Read the rows of one part into `conversations.parquet`; `dialect` is that of a table of conversations."""

    def images_of(index: str) -> Sequence[str] | None:
        return load_shared(reader.store.url, shared).get(index)

    rows = reader.read(part)
    find_clips: FindClips | None = None if clips is None else clips.find
    asked: Callable[[Record], ParsedRecord] = partial(
        parse_question, form=recipe.form, limits=recipe.limits, shared=images_of
    )
    if dialect is not None:
        rule = PlacingRule(video_style=recipe.video_style)
        asked = partial(parse_record, dialect=dialect, limits=recipe.limits, rule=rule)
    elif recipe.benchmark is not None:
        benchmark = BENCHMARKS[recipe.benchmark]
        asked = partial(
            parse_benchmark_question, benchmark=benchmark, form=recipe.form, limits=recipe.limits, shared=images_of
        )
    entries = parse_rows(rows.table, asked)
    if recipe.benchmark is not None and find_clips is not None:
        find_clips = first_collected(find_clips, entries)
    conversations = finish_all(entries, pictures.find, find_clips, is_trained_on=False)
    for number in rows.ordinals:
        conversations[number] = dropped_for(conversations[number], ConversationReason.REPEATED_ROW)
    table = conversation_table(row_ids(rows, recipe.source.name), conversations)
    table = with_scoring(table, entries, None if recipe.benchmark else recipe.scoring)
    write_table(table, draft.path(CONVERSATIONS_FILE))
    draft.fact(**examples_of(table, ["id", "missing_images", "missing_clips", "messages"], rows.first_row))
    draft.count(balance_of(table))


def with_scoring(table: pa.Table, entries: Sequence[Entry], rule: ScoringRule | None) -> pa.Table:
    """The table with how answers are scored, all right answers, and sets; null for a question that was not read.

    `rule` is for questions that are not of a benchmark: one of choices for those with options, another for the others.
    """
    import pyarrow as pa

    def rule_of(entry: ParsedRecord) -> str:
        own = rule if rule and (rule in CHOICE_RULES) == bool(entry.options) else None
        plain = own or ("choice" if entry.options else "exact")
        known: str | None = entry.record.get("scoring")
        return known if known in RULES else plain

    read = [entry if isinstance(entry, ParsedRecord) else None for entry in entries]
    texts = pa.list_(pa.string())
    columns = {
        "scoring": pa.array([entry and rule_of(entry) for entry in read], pa.string()),
        "truths": pa.array([entry and _texts(entry.record.get("truths")) for entry in read], texts),
        "sets": pa.array([entry and _texts(entry.record.get(SETS)) for entry in read], texts),
    }
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table


def _texts(value: object) -> list[str] | None:
    """A list of texts, None where there is none: a table of conversations may have a column of the same name."""
    return value if isinstance(value, list) and all(isinstance(one, str) for one in value) else None


@stage(
    number=4,
    recipe=ReadQuestionsRecipe,
    makes=Conversations,
    accepts=(1, 2, 3),
    phases=(*ROW_PHASES, SHARED_PHASE, *PICTURE_PHASES, *CLIP_PHASES, "read"),
)
def read_questions(
    recipe: ReadQuestionsRecipe,
    pictures: KeptPairs | RawPairs | None,
    clips: KeptClips | RawClips | None,
    *,
    ctx: StageContext,
) -> None:
    """Read the questions in parts of consecutive rows.

    Memory: the records of a part without image bytes; where rows share pictures, some 200 bytes for each question.
    """
    pinned = ctx.pinned(recipe.source)
    found = columns_of(pinned)
    dialect, wanted = wanted_questions(recipe, pinned, found)
    rows = tabulate(ctx, pinned, wanted)
    shared: tuple[FileEntry, ...] = ()
    if dialect is None and "index" in {*found, *recipe.columns}:
        parts = [Part(name=f"shared_{part.name}", task=part.task) for part in rows.parts]
        listed = ctx.spread(partial(list_shared, reader=rows.reader), over=parts, phase=SHARED_PHASE)
        shared = tuple(record.file(SHARED_FILE) for record in listed)
    work = partial(
        read_part,
        recipe=recipe,
        dialect=dialect,
        reader=rows.reader,
        pictures=index_pictures(ctx, pictures),
        clips=index_clips(ctx, clips),
        shared=shared,
    )
    records = ctx.spread(work, over=rows.parts, phase="read")
    check_losses(map(kept_or_lost, records), recipe.max_share_lost, items="questions")


def wanted_questions(
    recipe: ReadQuestionsRecipe, pinned: PinnedSource, found: Sequence[str]
) -> tuple[Dialect | None, WantedRows]:
    """The dialect of a table of conversations, None for a table of questions, and what is read of its columns."""
    where = f"source {recipe.source.name!r}"
    if recipe.benchmark is not None:
        missing = missing_columns(found, BENCHMARKS[recipe.benchmark])
        if missing:
            raise StageError(
                f"{where} has the columns {', '.join(map(repr, found))}: {recipe.benchmark} is read by {missing}"
            )
        change = partial(question_table, name=recipe.benchmark)
        return None, WantedRows(
            num_rows_per_part=recipe.num_questions_per_part, text=(), naming=(RECORD,), change=change
        )
    names = match_columns(
        ["question", "messages"], found, recipe.columns, optional=["question", "messages"], where=where
    )
    if not names:
        raise StageError(
            f"{where} has the columns {', '.join(map(repr, found))}: wanted is `question`, or `messages` whose last "
            "turn is the answer. Say in the recipe which is meant: columns={'question': 'NAME'}"
        )
    needed = "question" if "question" in names else "messages"
    optional = ["answer"] if needed == "question" else []
    wanted = wanted_rows([needed], recipe.columns, recipe.num_questions_per_part, optional=optional)
    if needed == "question":
        return None, wanted
    return find_dialect(look_at(pinned, wanted).records, {}, recipe.source.name), wanted
