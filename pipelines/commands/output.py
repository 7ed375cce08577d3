"""What every command shares: its options, how it says its answer, and the last line that says what to do next."""

from __future__ import annotations

import json
import shlex
import sys
from itertools import pairwise
from typing import Annotated, Any, NoReturn, TypeAlias

import typer
from rich.text import Text

from cluster.site import Site, SiteError, load_site
from pipelines.exits import BadCommandError, CommandError, ExitCode, RefusedError
from pipelines.screen.console import clean, open_console
from stages.store.store import CARD, Store

RecipeArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A shipped recipe (see `neo list`), or path/to/file.py:function.")
]
RefArgument: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="REF", help="A run, a name such as tiny/evaluate, or 4 or more digits of a fingerprint."),
]
RunArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="RUN", help="A run, or its pipeline's name: the run that name means now.")
]
RunToPick: TypeAlias = Annotated[
    str | None,
    typer.Argument(metavar="[RUN]", help="A run, or its pipeline's name; without it, the newest that fits."),
]
SiteOption: TypeAlias = Annotated[
    str,
    typer.Option("--site", envvar="NEO_SITE", metavar="SITE", help="A site by name, or a .toml file."),
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Answer with one JSON document on stdout.")]
SetOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="STEP.FIELD=VALUE", help="Set a field of a step's recipe; may be repeated."),
]
UntilOption: TypeAlias = Annotated[
    str | None, typer.Option("--until", metavar="STEP", help="This step and what it needs, nothing after it.")
]
OnlyOption: TypeAlias = Annotated[
    str | None, typer.Option("--only", metavar="STEP", help="This step alone; what it reads must be committed.")
]
UseOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--use", metavar="STEP=FINGERPRINT", help="Take a committed artifact for a step; may be repeated."),
]
RollbackOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--allow-rollback", help="Where the newest checkpoint is damaged, let training go on from the one before it."
    ),
]


class Answer:
    """The answer of one command: lines for a person, or one document for a machine."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self.console = open_console(stderr=as_json)

    def say(self, *things: Any) -> None:
        """Show lines or tables to a person. With `--json`, nothing."""
        if not self._as_json:
            for thing in things:
                shown = Text(clean(thing)) if isinstance(thing, str) else thing
                self.console.print(shown, soft_wrap=isinstance(shown, Text))

    def end(self, document: dict[str, Any], then: str, code: ExitCode = ExitCode.DONE) -> NoReturn:
        """The last line, or the document; then the command is over."""
        if self._as_json:
            document = {**document, "exit_code": int(code), "next": on_same_site(then)}
            typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        else:
            self.say(next_line(then))
        raise typer.Exit(int(code))


def complain(error: CommandError, *, as_json: bool) -> int:
    """Say an error the way answers are said; returns its exit code."""
    if as_json:
        document = {"error": str(error), "exit_code": int(error.code), "next": on_same_site(error.then)}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        console = open_console(stderr=True)
        console.print(Text(f"neo: {clean(str(error))}", style="red"), soft_wrap=True)
        console.print(Text(next_line(error.then)), soft_wrap=True)
    return int(error.code)


def next_line(then: str) -> str:
    return f"Next: {on_same_site(then)}"


def on_same_site(then: str) -> str:
    """A command, to be typed for the same site as the one that was just typed."""
    words = sys.argv[1:]
    sites = [after for word, after in pairwise(words) if word == "--site"]
    sites += [word.removeprefix("--site=") for word in words if word.startswith("--site=")]
    command, gap, remark = then.partition("   ")
    if not sites or not command.startswith("neo ") or "--help" in command or "--site" in command:
        return then
    return f"{command} --site {shlex.quote(sites[-1])}{gap}{remark}"


def find_site(name: str) -> Site:
    """The site of a name or file. Raises `BadCommandError` if there is none such."""
    try:
        return load_site(name or None)
    except SiteError as error:
        raise BadCommandError(str(error), then="neo --help") from error


def open_store(site: Site) -> Store:
    """The site's store, opened for writing. Raises `StoreError` on a foreign layout, and on a store that lets writers
    overwrite each other, unless the site says that there is one at a time: then every command says so."""
    store = Store(site.store)
    store.open(single_writer=site.single_writer)
    if not store.has_conditional_writes:
        said = (
            f"WARNING: {site.store} heeds no conditional writes, and the site says that one command at a time writes "
            "there. A second one would destroy what the first has recorded, and nothing would notice."
        )
        open_console(stderr=True).print(Text(said, style="bold red"), soft_wrap=True)
    return store


def existing_store(site: Site) -> Store:
    """The site's store for reading. Raises `RefusedError` if nothing was ever made there."""
    store = Store(site.store)
    if not (store.folder / CARD).is_file() if store.folder else store.read(CARD) is None:
        raise RefusedError(f"there is nothing yet in the store {site.store}", then="neo list")
    return store
