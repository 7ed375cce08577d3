"""Reads the rows of a benchmark's own table into records whose fields have the names that are used here.

A record has `question`, `hint`, `options` (texts without letters), `answer`, `kind`, `id`, `videos` (the names under
which its video may have been collected), and its pictures. This is done while files are read, so that a row that holds
the questions about one video becomes several, and what nobody reads is not kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from string import Formatter, ascii_uppercase
from typing import TYPE_CHECKING, Any, Final

from neo_model.inputs.conversation import IMAGE_PLACEHOLDER, VIDEO_PLACEHOLDER
from neo_model.inputs.frame_sampling import spaced_points
from stages.benchmarks.benchmark import Benchmark, BenchmarkName, RowFields
from stages.benchmarks.catalog import BENCHMARKS
from stages.conversations.image_references import IMAGE_FIELDS, Record, listed, literal_list
from stages.conversations.records import SETS, records_of, spell_record
from stages.origins.tables.row_batches import MALFORMED

if TYPE_CHECKING:
    import pyarrow as pa

NO_OPTION: Final = ("", "N/A", "nan", "None")
"""What stands in a column of an option that a question does not have."""
_LETTERED: Final = re.compile(r"\A\(?([A-Z])[.:)]\s*")
_FRAME_BLOCK: Final = 8
_NUM_BLOCKS: Final = 8


def question_table(table: pa.Table, name: BenchmarkName) -> pa.Table:
    """The rows of a benchmark's table as records in JSON text, a row for each question, with why one is malformed."""
    import pyarrow as pa

    benchmark = BENCHMARKS[name]
    texts: list[str | None] = []
    errors: list[str | None] = []
    for error, row in zip(table.column(MALFORMED).to_pylist(), records_of(table), strict=True):
        records = [None] if error or row is None else plain_records(row, benchmark)
        texts += [None if error else spell_record(record) for record in records]
        errors += [error] * len(records)
    return pa.table({"record": pa.array(texts, pa.string()), MALFORMED: pa.array(errors, pa.string())})


def plain_records(row: Record, benchmark: Benchmark) -> list[Record]:
    """The questions of a row: one, or those of the video that the row is about."""
    nested = benchmark.fields.nested
    inside = [one for one in listed(row.get(nested)) if isinstance(one, Mapping)] if nested else []
    return [_plain({**row, **one}, benchmark) for one in inside] or [_plain(row, benchmark)]


def _plain(row: Record, benchmark: Benchmark) -> Record:
    fields = benchmark.fields
    kind = _first(row, fields.kind)
    kinds = listed(kind) or (literal_list(kind) if isinstance(kind, str) and kind.startswith("[") else None)
    kind = kinds[0] if kinds else kind
    found = re.match(fields.kind_pattern, str(kind)) if fields.kind_pattern and kind is not None else None
    record: dict[str, Any] = {
        "id": _first(row, fields.row_id),
        "index": row.get("index"),
        "question": _first(row, fields.question),
        "hint": row.get("hint"),
        "options": options_in(row, fields.options) or None,
        "answer": _first(row, fields.answer),
        "kind": found[1] if found else kind,
        "split": row.get("split"),
        SETS: sets_of(row, fields) or None,
        "videos": [{"path": name, **_times(row, fields)} for name in video_names(row, fields.videos)] or None,
    }
    if benchmark.places == "frames":
        return record | _with_frames(row, str(record["question"] or ""), benchmark)
    pictures = {name: value for name, value in row.items() if name in IMAGE_FIELDS or re.match(r"image_?\d", name)}
    own = next((row[name] for name in fields.pictures if row.get(name) is not None), None)
    return record | (pictures if own is None else {"images": own})


def missing_columns(found: Collection[str], benchmark: Benchmark) -> str | None:
    """Which columns of a benchmark's table are missing among these, in words; None where it can be read."""
    fields = benchmark.fields
    if fields.nested in found:
        return None
    wanted = {"question": fields.question, "answer": fields.answer}
    if benchmark.video_style:
        wanted["video"] = fields.videos
    for what, names in wanted.items():
        if not any(set(_used(name)) <= set(found) for name in names):
            return f"one of these columns with its {what}: {', '.join(' and '.join(_used(name)) for name in names)}"
    return None


def options_in(row: Record, names: Sequence[str]) -> list[str]:
    """The texts of a row's options, without the letters that they begin with; [] where it lists none.

    >>> options_in({"choices": "A. left\\nB. right"}, ["choices"])
    ['left', 'right']
    """
    for name in names:
        if name == "A":
            columns: list[Any] = [row.get(letter) for letter in ascii_uppercase]
            absent = (number for number, value in enumerate(columns) if _is_absent(value))
            texts = columns[: next(absent, len(columns))]
        elif name.endswith("#"):
            columns = [row.get(f"{name[:-1]}{number}") for number in range(len(ascii_uppercase))]
            texts = [value for value in columns if not _is_absent(value)]
        else:
            texts = _texts(row.get(name))
        if texts:
            return _without_letters([str(text) for text in texts])
    return []


def video_names(row: Record, names: Sequence[str]) -> list[str]:
    """The names under which a row's video may have been collected, each once.

    >>> video_names({"video_path": "./video/a.mp4", "videoID": "a"}, ["{video_path}", "{videoID}.mp4"])
    ['video/a.mp4', 'a.mp4']
    """
    filled = (_filled(name, row) for name in names)
    return list(dict.fromkeys(name.removeprefix("./") for name in filled if name is not None))


def sets_of(row: Record, fields: RowFields) -> list[str]:
    """The sets of questions that a row belongs to, each as the name of what it is a set of and what it is called.

    >>> sets_of({"index": 1000241}, BENCHMARKS["mmbench"].fields)
    ['circle:241']
    """
    found: list[str] = []
    for name, one in fields.sets.items():
        text = _first(row, one.texts)
        match = None if text is None else re.match(one.pattern, str(text))
        found += [f"{name}:{'_'.join(match.groups())}"] if match else []
    return found


def _times(row: Record, fields: RowFields) -> dict[str, float]:
    """The first and the last second of a video that a row is about, where it is about a stretch of it."""
    values = [row.get(name) for name in fields.times or ()]
    numbers = [value for value in values if isinstance(value, int | float) and math.isfinite(value)]
    return dict(zip(("start", "end"), numbers, strict=True)) if len(numbers) == 2 else {}


def _first(row: Record, names: Sequence[str]) -> Any:
    """The value of the first of these columns that holds one."""
    values = (_filled(name, row) if "{" in name else row.get(name) for name in names)
    return next((value for value in values if not _is_absent(value)), None)


def _filled(name: str, row: Record) -> str | None:
    """A name with its braces filled from the row; None where the row lacks one of them."""
    values = {field: row.get(field) for field in _used(name)}
    if any(value is None or value != value for value in values.values()):  # noqa: PLR0124  NaN
        return None
    return name.format(**values)


def _used(name: str) -> list[str]:
    """The columns that a name stands for or is filled from."""
    return [field for _, field, _, _ in Formatter().parse(name) if field] or [name]


def _is_absent(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, str) and value.strip() in NO_OPTION)  # noqa: PLR0124


def _texts(value: Any) -> list[Any]:
    """The options in one column: a list, the text of a list, or lines that begin with letters."""
    if not isinstance(value, str):
        return listed(value)
    if value.strip().startswith("["):
        return literal_list(value.strip()) or []
    lines = [line.strip() for line in value.splitlines() if line.strip()]
    return lines if lines and all(map(_LETTERED.match, lines)) else []


def _without_letters(options: list[str]) -> list[str]:
    """The options without `A.`, `B.`, ... where all of them begin so."""
    found = [_LETTERED.match(option.strip()) for option in options]
    if all(one is not None and one[1] == letter for one, letter in zip(found, ascii_uppercase, strict=False)):
        return [option.strip()[one.end() :] for option, one in zip(options, found, strict=True) if one is not None]
    return options


def _with_frames(row: Record, text: str, benchmark: Benchmark) -> dict[str, Any]:
    """The frames and pictures of a question in the order of their places, and its text with their names in it."""
    segments = listed(row.get("image_path")) or literal_list(str(row.get("image_path"))) or []
    if segments and not isinstance(segments[0], list):
        segments = [segments]
    refs = listed(row.get("ref_images")) or literal_list(str(row.get("ref_images"))) or []
    frames = [(number, name) for number, segment in enumerate(segments) for name in segment]
    assert benchmark.sampling is not None and benchmark.sampling.num_frames is not None
    places = spaced_points(len(frames), benchmark.sampling.num_frames, benchmark.sampling.spacing)
    taken = [frames[place] for place in places]
    waiting = [[name for number, name in taken if number == segment] for segment in range(len(segments))]
    images: list[str] = []
    named = _names_in_places(text, _takes(images, waiting), _takes(images, [[ref] for ref in refs]))
    return {"question": _without_runs(named, len(images)), "images": images or None}


def _takes(images: list[str], waiting: list[list[str]]) -> Callable[[], str | None]:
    """Moves the pictures of the next place into `images` and gives their names in the text; None where none is left."""
    places = iter(waiting)

    def take() -> str | None:
        names = next(places, None)
        if names is None:
            return None
        first = len(images) + 1
        images.extend(names)
        return "".join(f"<Image-{number}>" for number in range(first, len(images) + 1))

    return take


def _names_in_places(text: str, next_clip: Callable[[], str | None], next_picture: Callable[[], str | None]) -> str:
    """The text with the names of frames and pictures in place of `<video>` and `<image>`."""

    def name(match: re.Match[str]) -> str:
        found = next_clip() if match[0] == VIDEO_PLACEHOLDER else next_picture()
        return match[0] if found is None else found

    return re.sub(f"{VIDEO_PLACEHOLDER}|{IMAGE_PLACEHOLDER}", name, text)


def _without_runs(text: str, num_images: int) -> str:
    """The text as the kit cleans it: without the names of all pictures in a row, or of eight frames in a row; `Image-1`
    is `Frame-1`."""
    text = text.replace(_run(1, num_images), "") if num_images > 1 else text
    for first in range(1, _NUM_BLOCKS * _FRAME_BLOCK, _FRAME_BLOCK):
        text = text.replace(_run(first, first + _FRAME_BLOCK - 1), "")
    return re.sub(r"Image-(?=[1-9])", "Frame-", text)


def _run(first: int, last: int) -> str:
    return "".join(f"<Image-{number}>" for number in range(first, last + 1))
