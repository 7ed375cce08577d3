"""Guesses what a source holds from the names of its files and columns, and which stage reads it.

Owns the order in which stages are thought of. Columns are matched by the function that the stages use, so a column that
is found here is found there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from stages.contract import StageError
from stages.cutting.film_names import is_video
from stages.cutting.parquet_videos import VIDEO_NAMES
from stages.cutting.table_videos import ROW_COLUMNS
from stages.importing.forms import is_picture, is_tar
from stages.origins.columns import match_columns

Reader: TypeAlias = Literal[
    "download_pairs", "import_pairs", "read_conversations", "read_questions", "read_text", "fetch_llm",
    "import_checkpoint", "cut_clips", ""
]  # fmt: skip
"""Name of the stage that reads a source; '' where none does."""

STEPS: Final[Mapping[str, tuple[str, str]]] = {
    "download_pairs": ("pairs", ""),
    "import_pairs": ("pairs", ""),
    "cut_clips": ("clips", ""),
    "read_text": ("text", ""),
    "read_conversations": ("talks", ", pictures"),
    "read_questions": ("questions", ", pictures"),
    "fetch_llm": ("llm", ""),
    "import_checkpoint": ("start", ""),
}
"""Reader to the name of a step that it makes, and to what is bound behind its recipe."""
TURN_FIELDS: Final = ("messages", "conversations", "conversation", "dialog", "dialogue", "turns", "chat", "QA")
"""Columns that hold the turns of a conversation."""
QUESTION_FIELDS: Final = ("question", "query", "prompt")
ANSWER_FIELDS: Final = ("answer", "answers", "label", "gt_answer")


@dataclass(frozen=True, kw_only=True)
class SourceGuess:
    """What a source holds, and who reads it."""

    reader: Reader
    about: str
    """What it is taken for, and by what."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """The stage's name to the table's own, of the columns that it reads."""
    trouble: str = ""
    """Why the stage would refuse it, in its own words."""

    def binding(self, name: str) -> str:
        """The line that binds the stage to the source called `name`; '' where no stage reads it."""
        if not self.reader:
            return ""
        step, inputs = STEPS[self.reader]
        recipe = f"{''.join(word.capitalize() for word in self.reader.split('_'))}Recipe"
        return f'{step} = {self.reader}.bind("{step}", {recipe}(source=Source("{name}")){inputs})'


def guess_table(names: Sequence[str], first_row: Mapping[str, Any]) -> SourceGuess:
    """What a table with these columns holds; `first_row` has the values of its first row, as plain values."""
    if turns := next((name for name in TURN_FIELDS if isinstance(first_row.get(name), list)), ""):
        return SourceGuess(
            reader="read_conversations",
            about=f"conversations, by the list in column {turns!r}",
            columns={"messages": turns},
        )
    lower = {name.lower(): name for name in names}
    question = next((lower[name] for name in QUESTION_FIELDS if name in lower), "")
    answer = next((lower[name] for name in ANSWER_FIELDS if name in lower), "")
    if question and answer:
        about = f"questions with answers, by the columns {question!r} and {answer!r}"
        return SourceGuess(reader="read_questions", about=about, columns={"question": question, "answer": answer})
    if (clips := _guess_clips(names, first_row)) is not None:
        return clips
    if picture := next((name for name in names if holds_picture_bytes(first_row.get(name))), ""):
        caption = _matched(["caption"], [name for name in names if name != picture])
        about = f"pairs with their pictures, by the bytes in column {picture!r}"
        return SourceGuess(reader="import_pairs", about=about, columns={"image": picture, **caption.columns})
    return _guess_text(names, first_row)


def _guess_clips(names: Sequence[str], first_row: Mapping[str, Any]) -> SourceGuess | None:
    """A table of videos: by a column whose first value ends like a video's name, or by a name of videos' bytes."""
    for name in names:
        value = first_row.get(name)
        value = value[0] if isinstance(value, list) and value else value
        named = value.get("path") if isinstance(value, Mapping) else value
        is_named = isinstance(named, str) and is_video(named.strip().partition("?")[0])
        if is_named or (name in VIDEO_NAMES[:2] and holds_picture_bytes(value)):
            others = [other for other in names if other != name]
            columns = {
                ours: theirs for ours in ROW_COLUMNS[1:] if (theirs := _matched([ours], others).columns.get(ours))
            }
            about = f"videos, by the {'names' if is_named else 'bytes'} in column {name!r}"
            return SourceGuess(reader="cut_clips", about=about, columns={"video": name, **columns})
    return None


def _guess_text(names: Sequence[str], first_row: Mapping[str, Any]) -> SourceGuess:
    """What a table without pictures, questions or turns holds: URLs with or without captions, or documents."""
    pairs, urls, text = (_matched(wanted, names) for wanted in (["url", "caption"], ["url"], ["text"]))
    if pairs.columns:
        about = f"a URL table, by {_said(pairs.columns)}"
        return SourceGuess(reader="download_pairs", about=about, columns=pairs.columns)
    if urls.columns and _is_web_address(first_row.get(urls.columns["url"])):
        about = f"URLs without captions, by {_said(urls.columns)}"
        return SourceGuess(reader="download_pairs", about=about, columns=urls.columns)
    if text.columns:
        return SourceGuess(reader="read_text", about=f"documents, by {_said(text.columns)}", columns=text.columns)
    return SourceGuess(reader="", about=f"a table with the columns {', '.join(names)}", trouble=pairs.trouble)


def guess_files(paths: Sequence[str]) -> SourceGuess:
    """What files that are no table hold: a model's folder, tars or pictures."""
    names = {path.rpartition("/")[2] for path in paths}
    if "config.json" in names and any(name.endswith(".safetensors") for name in names):
        return SourceGuess(reader="fetch_llm", about="a model's folder, by config.json beside safetensors")
    if any(map(is_video, names)):
        return SourceGuess(reader="cut_clips", about="a folder of videos, by the ends of their names")
    if any(map(is_tar, names)):
        return SourceGuess(reader="import_pairs", about="tars of pairs, by the ends of their names")
    if any(map(is_picture, names)):
        return SourceGuess(reader="import_pairs", about="a folder of pictures, by the ends of their names")
    return SourceGuess(reader="", about=f"{len(paths):,} files, of which none is a table, tar, picture or model")


def holds_picture_bytes(value: Any) -> bool:
    """Whether a value is the bytes of a file, plain or as the hub keeps them (`bytes` and `path`)."""
    if isinstance(value, list):
        return any(map(holds_picture_bytes, value))
    return isinstance(value, bytes) or (isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes))


def _is_web_address(value: Any) -> bool:
    return isinstance(value, str) and value.strip().lower().startswith(("http://", "https://"))


def _matched(wanted: Sequence[str], names: Sequence[str]) -> SourceGuess:
    """The columns that a stage would find, or why it would refuse the table."""
    try:
        return SourceGuess(reader="", about="", columns=match_columns(wanted, names, {}))
    except StageError as error:
        return SourceGuess(reader="", about="", trouble=str(error))


def _said(columns: Mapping[str, str]) -> str:
    return ", ".join(
        f"column {theirs!r}" if ours == theirs else f"column {theirs!r} as {ours}" for ours, theirs in columns.items()
    )
