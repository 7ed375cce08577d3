"""The context of a command: the site, its store, the console, and how answers and errors are printed.

`pipelines.cli` makes one `CommandContext` from the options before or after the command's name, and click hands it to
the command as `ctx.obj`. Nothing is loaded before a command asks for it.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from cluster.site import Site, SiteError, load_site
from pipelines.exits import BadCommandError, CommandError, ExitCode, RefusedError
from pipelines.screen.console import clean, open_console, write_text
from pipelines.screen.documents import document_text
from pipelines.screen.text_table import print_whole
from pipelines.screen.warnings import RecordWarnings
from pipelines.tracking.delivery import deliver_pending
from stages.store.metadata import METADATA_KEY, open_store
from stages.store.store import Store
from stages.surfaces.visible import bounded

MAX_TEXT_COLUMNS = 100
DOCUMENT_VERSION = 1
"""Schema version of the documents of `--json`, `version` in each: it rises when a key goes or means another thing."""


def program(*, elsewhere: bool = False) -> str:
    """What to type for `neo`, here or `elsewhere`: the path that was typed, where a shell would not find it by name."""
    typed = Path(sys.argv[0])
    if typed.name != "neo" or not typed.is_file():
        return "neo"
    found = shutil.which("neo")
    if found and Path(found).samefile(typed):
        return "neo"
    return shlex.quote(str(typed.absolute())) if elsewhere else _as_typed(typed)


def _as_typed(path: Path) -> str:
    """A path as short as it can be typed here."""
    relative = path.absolute().is_relative_to(Path.cwd())
    return shlex.quote(str(path.absolute().relative_to(Path.cwd()) if relative else path))


@dataclass
class CommandContext:
    """One command that was typed: for which site, and whether a person or a program reads the answer."""

    site_name: str = ""
    """The site by name, or a .toml file; empty for the default."""
    as_json: bool = False
    typed_site: str = ""
    """`site_name` if it was typed, and not taken from the environment: the next command then needs it too."""
    words: tuple[str, ...] = ()
    """What was typed after `neo`."""
    warnings: RecordWarnings = field(default_factory=RecordWarnings)
    """The warnings about records that were left out."""
    retries: int = 0
    """How often `neo submit` starts a lost driver again."""
    froms: tuple[str, ...] = ()
    """The checkpoints that `neo submit` lets trainings begin from, as they were typed."""
    show_attention: Path | None = None
    """Where `neo ask` draws the attention of an answer."""
    retry_rows: tuple[str, ...] = ()
    """The downloads of which failed rows are fetched again, as they were typed."""
    sentence: str | None = None
    """What `neo where` looks for in captions, texts and messages."""
    reason: str | None = None
    """The reason or verdict that `neo exposure` and `neo impact` ask about."""
    made_by: str | None = None
    """The stage, code or package whose artifacts `neo impact` asks about."""
    behind: str | None = None
    """The artifact among whose lineage `neo impact` looks, as it was typed."""
    typed: ClassVar[CommandContext | None] = None
    """The command that this process carries out, for one with too many options to take its context as well."""

    @cached_property
    def site(self) -> Site:
        """Raises `BadCommandError` if there is no such site."""
        try:
            return load_site(self.site_name or None)
        except SiteError as error:
            raise BadCommandError(str(error), then="neo --help") from error

    @cached_property
    def console(self) -> Console:
        """Where answers for people go. With `--json`, stdout is for the document alone."""
        return open_console(stderr=self.as_json)

    @property
    def text_columns(self) -> int:
        """Columns that wrapped text may fill: those of the terminal, and no more than are read with ease."""
        return min(self.console.width, MAX_TEXT_COLUMNS)

    def possible_store(self) -> Store:
        """The site's store for reading, though nothing may have been made there yet."""
        return Store(self.site.store)

    def store_to_read(self, *, delivers: bool = True) -> Store:
        """The site's store for reading, once MLflow was given the messages that dead attempts left in it.

        Raises `RefusedError` if nothing was ever made there, or if the store has lost its own record.
        """
        store = self.possible_store()
        if not (store.folder / METADATA_KEY).is_file() if store.folder else store.read(METADATA_KEY) is None:
            if store.some_keys("runs/", 1):
                raise RefusedError(
                    f"{METADATA_KEY} is missing in the store {self.site.store}, where runs were made: put it back from "
                    "a copy; without one, the next `neo run` writes it again",
                    then="neo list",
                )
            raise RefusedError(f"there is nothing yet in the store {self.site.store}", then="neo list")
        if delivers:
            self.deliver_pending(store)
        return store

    def deliver_pending(self, store: Store, *, patiently: bool = False) -> None:
        """Give MLflow the messages that dead attempts left, for two seconds at most, `patiently` for a minute; the
        rest waits for `neo run`, which delivers while it works, or `neo mirror`."""
        num_left = deliver_pending(store, self.site.mlflow, patiently=patiently)
        if num_left:
            self.say(f"MLflow is slow: {num_left:,} messages of ended runs are left to later commands.", "")

    def store_to_write(self) -> Store:
        """The site's store, opened for writing. Raises `StoreError` on a foreign layout, and on a store that lets
        writers overwrite each other, unless the site declares a single writer: then every command warns."""
        store = self.possible_store()
        open_store(store, single_writer=self.site.single_writer)
        if not store.has_conditional_writes:
            warning = (
                f"WARNING: {self.site.store} does not support conditional writes (`If-None-Match: *`), and the site "
                "declares a single writer: one command at a time. A second one would destroy what the first has "
                "recorded, and nothing would notice."
            )
            print_whole(open_console(stderr=True), Text(warning, style="bold red"))
        return store

    def say(self, *things: Any) -> None:
        """Show lines and tables to a person. With `--json`, nothing."""
        if not self.as_json:
            for thing in things:
                print_whole(self.console, Text(clean(thing)) if isinstance(thing, str) else thing)

    def end(self, document: dict[str, Any], then: str, code: ExitCode = ExitCode.DONE) -> NoReturn:
        """End the command: print the line that names the next command, or the document."""
        if self.as_json:
            left_out = {"warnings": self.warnings.messages} if self.warnings.messages else {}
            ending = {"exit_code": int(code), "next": self.on_same_site(then)}
            self._print_document({"version": DOCUMENT_VERSION, **document, **left_out, **ending})
        else:
            self.console.print(Text(self._next_line(then)), soft_wrap=True)  # unbroken, to be copied
        raise typer.Exit(int(code))

    def fail(self, error: CommandError) -> NoReturn:
        """End the command with an error: its message on stderr and the next command, or the document."""
        if self.as_json:
            failure = {
                "error": bounded(str(error)),
                "exit_code": int(error.code),
                "next": self.on_same_site(error.then),
            }
            self._print_document({"version": DOCUMENT_VERSION, **failure})
        else:
            console = open_console(stderr=True)
            print_whole(console, Text(f"neo: {bounded(clean(str(error)))}", style="red"))
            console.print(Text(self._next_line(error.then)), soft_wrap=True)
        raise typer.Exit(int(error.code))

    def on_same_site(self, then: str) -> str:
        """A command, to be typed for the same site as this one.

        >>> CommandContext(typed_site="lab").on_same_site("neo resume   (once there is room)")
        'neo resume --site lab   (once there is room)'
        """
        command, gap, remark = then.partition("   ")
        if command.startswith("cd "):
            return then.replace("&& neo ", f"&& {program(elsewhere=True)} ", 1)
        if not command.startswith("neo "):
            return then
        if self.typed_site and "--help" not in command and "--site" not in command:
            command = f"{command} --site {shlex.quote(self.typed_site)}"
        return f"{command.replace('neo', program(), 1)}{gap}{remark}"

    def _next_line(self, then: str) -> str:
        return f"Next: {self.on_same_site(then)}"

    def _print_document(self, document: dict[str, Any]) -> None:
        write_text(f"{document_text(document)}\n")
