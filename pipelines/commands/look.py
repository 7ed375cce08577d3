"""`neo look`: the first items of a source or an artifact, in the terminal or as a page with pictures."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.context import CommandContext
from pipelines.exits import BadCommandError, CommandError, RefusedError
from pipelines.planning.catalog import RECIPES_FOLDER, suggestion
from pipelines.planning.source_files import DEFINITIONS, read_entries
from pipelines.preview.artifacts import preview_of_artifact
from pipelines.preview.items import Preview
from pipelines.preview.lines import preview_lines
from pipelines.preview.page import preview_page
from pipelines.runs.refs import resolve_artifact
from stages.artifacts.artifact import Artifact, open_artifact
from stages.contract import StageError


def look(
    ctx: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE|REF",
            help="A name in sources.toml, a path, pattern or URI of data, or an artifact as `neo show` takes it.",
        ),
    ],
    *,
    num_items: Annotated[int, typer.Option("--num", metavar="N", min=1, max=1000, help="How many are shown.")] = 5,
    skip: Annotated[
        int, typer.Option("--skip", metavar="N", min=0, help="How many are passed over; of packed rows, rows.")
    ] = 0,
    beside: Annotated[
        Path, typer.Option("--beside", metavar="FOLDER", help="The folder of the pipeline, which has sources.toml.")
    ] = Path(),
    images: Annotated[
        str,
        typer.Option(
            "--images", metavar="SOURCE", help="The source of the pictures or videos that a table names by paths."
        ),
    ] = "",
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE.html", help="Write one page, with the pictures in it.")
    ] = None,
) -> None:
    """Look at the first items of a source or an artifact.

    As they will be read: rows, pictures, conversations; packed rows as the model gets them.
    """
    command: CommandContext = ctx.obj
    preview = _preview(command, what, _Shown(skip, num_items, beside, images))
    document = preview.document()
    if html is not None:
        write_page(html, preview_page(preview))
        document["page"] = str(html)
        command.say(f"{preview.title}: {html}")
    else:
        command.say(*preview_lines(preview, command.text_columns))
    further = f"neo look {shlex.quote(what)} --skip {skip + len(preview.items)}"
    command.end(document, then=further if len(preview.items) == num_items else "neo stages")


@dataclass(frozen=True)
class _Shown:
    """Which items are shown, and where names of sources are looked up."""

    skip: int
    num_items: int
    beside: Path
    images: str


def _preview(command: CommandContext, what: str, shown: _Shown) -> Preview:
    """The preview of a source, if `what` names one beside the pipeline or is a path or URI; else of an artifact."""
    uris, base = uris_of(what, shown.beside)
    if uris:
        from pipelines.preview.sources import preview_of_source  # imports the readers of tables
        from stages.origins.pinning import select

        try:
            of_images = uris_of(shown.images, shown.beside) if shown.images else None
            place = select(*of_images).place if of_images else None
            return preview_of_source(what, uris, base, skip=shown.skip, num_items=shown.num_items, images=place)
        except StageError as error:
            raise BadCommandError(str(error), then="neo look --help") from error
    try:
        store = command.store_to_read()
        artifact = open_artifact(store, *resolve_artifact(store, what), Artifact)
    except CommandError as error:
        file, near = shown.beside / DEFINITIONS, suggestion(what, list(read_entries(shown.beside)))
        raise BadCommandError(
            f"{what!r} is no file, and no source in {file}{near}; {error}", then=error.then
        ) from error
    return preview_of_artifact(artifact, skip=shown.skip, num_items=shown.num_items)


def uris_of(what: str, beside: Path) -> tuple[tuple[str, ...], Path]:
    """What a source consists of, and the folder that its paths are relative to; () if `what` is no source.

    Names are looked up in `sources.toml` of the folder `beside`, then in that of the shipped pipelines. Raises
    `BadCommandError` where such a file cannot be read.
    """
    for folder in (beside, RECIPES_FOLDER):
        entry = read_entries(folder).get(what)
        if entry is not None:
            return entry.uri, folder
    if "://" in what or what.startswith("toy:") or Path(what).expanduser().exists() or set("*?") & set(what):
        return (what,), Path()
    return (), Path()


def write_page(path: Path, text: str) -> None:
    """Write a page. Raises `BadCommandError` where the name is no HTML file's, `RefusedError` where it cannot be."""
    if path.suffix not in (".html", ".htm"):
        raise BadCommandError(f"--html {path}: name a file that ends in .html", then="neo look --help")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RefusedError(f"--html {path}: {error}", then="neo look --help") from error
