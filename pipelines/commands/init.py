"""`neo init`: a small working project to begin with."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.context import CommandContext
from pipelines.exits import BadCommandError, RefusedError
from pipelines.planning.catalog import suggestion
from pipelines.templates.projects import TEMPLATES, write_project

ABOUT = "; ".join(f"{name}: {template.about}" for name, template in TEMPLATES.items())


def init(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or empty folder.")],
    template: Annotated[str, typer.Option("--template", metavar="NAME", help=f"What to begin with. {ABOUT}.")] = "tune",
) -> None:
    """Write a small working project.

    Its data are a few pictures and texts of our own; lines with EDIT say where yours go. Nothing is overwritten.
    """
    command: CommandContext = ctx.obj
    if template not in TEMPLATES:
        raise BadCommandError(
            f"there is no template {template!r}{suggestion(template, list(TEMPLATES))}; "
            f"there are {', '.join(TEMPLATES)}",
            then=f"neo init {shlex.quote(str(folder))} --template tune",
        )
    try:
        files = write_project(folder, template)
    except FileExistsError as error:
        raise RefusedError(f"{error}, and nothing is overwritten", then="neo init --help") from error
    command.say(
        f"Wrote {folder}: {', '.join(files)}, and data/ with pictures and texts of our own.",
        "Lines with EDIT in sources.toml and pipeline.py say where yours go.",
    )
    # From inside the folder, as its README says: the store of site.toml lies in the folder that a command is typed in.
    then = f"cd {shlex.quote(str(folder))} && neo run pipeline.py:{TEMPLATES[template].names[0]} --site site.toml"
    command.end({"folder": str(folder), "template": template, "files": files}, then=then)
