"""`neo describe`: one stage, with every field of its recipe."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from pipelines.commands.context import CommandContext
from pipelines.planning.stage_catalog import find_stage
from pipelines.planning.stage_description import (
    FieldDescription,
    InputDescription,
    StageDescription,
    describe_stage,
)

COLUMN_GAP = re.compile(r"\s{2,}")
"""Spaces between two columns of a docstring."""
LABEL = re.compile(r"(?:Reads|Makes)  ")
LABEL_GAP = " " * 7
"""Spaces as wide as a label, which a further entry under it begins with."""
FREE = "Another {} makes nothing again."
SHAPES = {"one": "", "mapping": ", several by name", "sequence": ", several in order"}


def describe(
    ctx: typer.Context,
    stage: Annotated[
        str, typer.Argument(metavar="STAGE", help="A stage (see `neo stages`), or path/to/file.py:function.")
    ],
) -> None:
    """Describe a stage and every field of its recipe.

    With meaning, type or choices, unit and default.
    """
    command: CommandContext = ctx.obj
    described = describe_stage(find_stage(stage))
    command.say(*description_lines(described, command.text_columns))
    command.end(asdict(described), then="neo stages")


def description_lines(one: StageDescription, columns: int) -> Iterator[Text]:
    """The description of a stage in so many columns."""
    yield Text(one.name, style="bold")
    yield from _wrapped(one.about, columns)
    for paragraph in one.details:
        yield Text("")
        yield from _paragraph(paragraph, columns)
    yield from _headed("Inputs", "")
    for item in one.inputs:
        yield from _input(item, columns)
    if not one.inputs:
        yield Text("  none: it is the first of its branch")
    yield from _headed("Makes", one.makes)
    yield from _wrapped(one.makes_meaning, columns, indent=2)
    yield from _headed("Recipe", one.recipe)
    yield from _wrapped(one.recipe_about, columns, indent=2)
    for field in one.fields:
        yield from _field(field, columns)
    yield from _headed("In a pipeline", "")
    yield from (Text(f"  {line}".rstrip()) for line in _example(one))


def _headed(heading: str, what: str) -> Iterator[Text]:
    yield Text("")
    yield Text(heading, style="bold").append(f"  {what}" if what else "", style="not bold")


def _input(item: InputDescription, columns: int) -> Iterator[Text]:
    kind = " or ".join(item.kinds) + SHAPES[item.shape] + ("; may be left out" if item.is_optional else "")
    yield from _wrapped(f"{item.name}: {kind}", columns, indent=2, hanging=6, style="cyan")
    free = "" if item.is_identity else f" {FREE.format('one')}"
    yield from _wrapped(item.meaning + free, columns, indent=6)


def _field(field: FieldDescription, columns: int) -> Iterator[Text]:
    """A field: a line with its type, unit and default, then what it means."""
    default = "must be given" if field.default is None else f"default {field.default}"
    unit = f"  [{field.unit}]" if field.unit else ""
    yield from _wrapped(f"{field.name}: {field.type}{unit}  {default}", columns, indent=2, hanging=6, style="cyan")
    free = "" if field.is_identity else f" {FREE.format('value')}"
    yield from _wrapped((field.meaning or "(its docstring is missing)") + free, columns, indent=6)


def _example(one: StageDescription) -> Iterator[str]:
    """The lines that bind the stage in a pipeline."""
    required = ", ".join(f"{field.name}=..." for field in one.fields if field.default is None and "." not in field.name)
    bound = {"one": "{}", "mapping": '{{"name": {}}}', "sequence": "[{}]"}
    inputs = [bound[item.shape].format(item.name) for item in one.inputs if not item.is_optional]
    if one.imported:
        yield from (one.imported, "")
    arguments = ('"name_of_the_step"', f"{one.recipe}({required})", *inputs)
    yield f"step = {one.name}.bind("
    yield from (f"    {argument}," for argument in arguments)
    yield ")"


def _paragraph(text: str, columns: int) -> Iterator[Text]:
    """A paragraph of a docstring, wrapped; one in columns (`Reads  RawPairs  parts: ...`) as a list of its entries."""
    entries = list(entries_of(text))
    if len(entries) == 1 and not COLUMN_GAP.search(text.strip().partition("\n")[0]):
        yield from _wrapped(" ".join(text.split()), columns)
        return
    for entry in entries:
        yield from _wrapped(entry, columns, hanging=len(LABEL_GAP) + 2)


def entries_of(text: str) -> Iterator[str]:
    """The entries of a paragraph in columns, each on one line.

    A line that begins at the left edge begins an entry. Under the labels `Reads` and `Makes` one at the column of the
    names does as well, since a stage reads several kinds; every other line continues the entry before it.

    >>> list(entries_of("Reads  RawPairs   a tar\\n                  and a table\\n       BaseLlm    its tokenizer"))
    ['Reads  RawPairs: a tar and a table', '       BaseLlm: its tokenizer']
    """
    entry = ""
    for line in textwrap.dedent(text).splitlines():
        label = LABEL.match(line)
        starts_at = len(line) - len(line.lstrip())
        if starts_at in (0, len(LABEL_GAP)) and (label or starts_at or not entry or _is_in_columns(line)):
            if entry:
                yield entry
            begins = label[0] if label else LABEL_GAP if starts_at else ""
            name, _, meaning = COLUMN_GAP.sub("\t", line[len(begins) :].strip(), count=1).partition("\t")
            entry = f"{begins}{name}{': ' if meaning else ''}{meaning}"
        else:
            entry = f"{entry} {line.strip()}"
    if entry:
        yield entry


def _is_in_columns(line: str) -> bool:
    return COLUMN_GAP.search(line.strip()) is not None


def _wrapped(
    text: str, columns: int, *, indent: int = 0, hanging: int | None = None, style: str = ""
) -> Iterator[Text]:
    """A text in lines of so many columns, the first indented by `indent`, the others by `hanging`."""
    later = " " * (indent if hanging is None else hanging)
    lines = textwrap.wrap(text, columns, initial_indent=" " * indent, subsequent_indent=later, break_on_hyphens=False)
    yield from (Text(line, style=style) for line in lines)
