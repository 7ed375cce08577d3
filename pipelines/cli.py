"""`neo`: the command line.

Owns the list of commands, the two options that all of them accept, and how an error becomes a message, a next command
and an exit code.
"""

from __future__ import annotations

import copy
import importlib.metadata
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn, TypeAlias

import typer
from typer.core import TyperCommand, TyperGroup

from cluster.versions import PACKAGE
from pipelines.commands.ask import ask
from pipelines.commands.audit import audit
from pipelines.commands.cancel import cancel
from pipelines.commands.context import CommandContext
from pipelines.commands.describe import describe
from pipelines.commands.diff import diff
from pipelines.commands.disclose import disclose
from pipelines.commands.doctor import doctor
from pipelines.commands.estimate import estimate
from pipelines.commands.examples import GROUPS, OTHERS, epilog_of
from pipelines.commands.exposure import exposure
from pipelines.commands.files import files
from pipelines.commands.gc import gc
from pipelines.commands.get import get
from pipelines.commands.impact import impact
from pipelines.commands.index import index
from pipelines.commands.init import init
from pipelines.commands.list import list_
from pipelines.commands.logs import logs
from pipelines.commands.look import look
from pipelines.commands.mirror import mirror_
from pipelines.commands.options import JsonOption, SiteOption
from pipelines.commands.pin import pin_
from pipelines.commands.plan import plan
from pipelines.commands.push import push
from pipelines.commands.report import report
from pipelines.commands.resume import resume
from pipelines.commands.retry import retry
from pipelines.commands.row import row
from pipelines.commands.run import run
from pipelines.commands.seen import seen
from pipelines.commands.serve import serve
from pipelines.commands.show import show
from pipelines.commands.sign import sign
from pipelines.commands.skip import skip
from pipelines.commands.stages import stages_
from pipelines.commands.status import status
from pipelines.commands.submit import submit
from pipelines.commands.takedown import takedown
from pipelines.commands.trace import trace
from pipelines.commands.verify import verify
from pipelines.commands.view import view
from pipelines.commands.where import where
from pipelines.exits import MENDED, BadCommandError, CommandError, ExitCode, RefusedError
from pipelines.running.summary import REPAIR_COMMAND
from pipelines.screen.console import replace_unwritable, write_text
from pipelines.screen.warnings import RecordWarnings, clean_log_lines
from stages.contract import StageError
from stages.store.errors import DiskFullError, StoreDeniedError, StoreError, StoreUnavailableError, TornRecordError

EPILOG = (
    "Exit codes: 0 done or nothing to do, 1 a step failed (run again to continue), 2 bad command or pipeline, "
    "3 refused before start, 4 resume refused, 5 superseded, 75 interrupted (run again to continue)."
)
ENVIRONMENT = (
    "NEO_SITE names the site, NEO_HOME the folder that holds the store and MLflow's database of this machine "
    "(./neo-store and beside it, without it)."
)
OF_NEO_ALONE = ("_version", "install_completion", "show_completion")
"""Options that stand before a command's name alone."""
MEANT = re.compile(r"'([^']+)'[.;]? ?\(?[Dd]id you mean '([^']+)'")
"""What was typed, and what is near it, in a message."""
UsageError: Any = typer.BadParameter.__mro__[1]
"""What click raises for an unknown command, a wrong option or a missing argument. typer exports no name for it."""


class StoppedError(CommandError):
    """Ctrl-C ended the command."""

    code = ExitCode.INTERRUPTED


class NeoCommand(TyperCommand):
    """A command that lists neo's own options in its help, beside those of its own."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The command's own options, those of `neo`, and `--help`."""
        of_neo = ctx.parent.command.params if ctx.parent is not None else []
        shared = [copy.copy(option) for option in of_neo if option.name not in OF_NEO_ALONE]
        for option in shared:
            option.expose_value = False  # the context has it
        own = super().get_params(ctx)
        return [*own[:-1], *shared, *own[-1:]]  # the last is --help


class NeoGroup(TyperGroup):
    """Accepts neo's own options before and after a command's name, and prints every error as answers are printed."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse neo's own options first, wherever they stand. An error of parsing ends the command."""
        shared, rest = options_first(self.params, args)
        ctx.meta["words"] = tuple(args)
        try:
            return super().parse_args(ctx, [*shared, *rest])
        except UsageError as error:
            if not args:  # click shows the help
                raise
            if shared:
                super().parse_args(ctx, shared)
            fail(ctx, error)

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        """List the commands in groups."""
        grouped = {name for names in GROUPS.values() for name in names}
        for heading, names in {**GROUPS, OTHERS: tuple(name for name in self.commands if name not in grouped)}.items():
            width = formatter.width - 6 - max(map(len, self.commands))
            rows = [(name, self.commands[name].get_short_help_str(width)) for name in names if name in self.commands]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)

    def invoke(self, ctx: Any) -> Any:
        """Run the command. An expected error ends it with a message; any other one with a traceback."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # `neo list | head -1`: click ends quietly
            raise
        except (CommandError, StageError, StoreError, OSError, KeyboardInterrupt, UsageError) as error:
            fail(ctx, error)


app = typer.Typer(
    name="neo",
    cls=NeoGroup,
    help="Train native vision-language models: plan a pipeline, run it, resume it after any failure, and trace what "
    "it made.",
    epilog=f"{ENVIRONMENT}\n\n{EPILOG}",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def say_version(is_asked: bool) -> None:
    """Print the version of the package, and end."""
    if is_asked:
        write_text(f"neo {importlib.metadata.version(PACKAGE)}\n")
        raise typer.Exit


VersionOption: TypeAlias = Annotated[
    bool, typer.Option("--version", callback=say_version, is_eager=True, help="Say the version, and end.")
]


@app.callback()
def make_context(
    ctx: typer.Context,
    site: SiteOption = "",
    as_json: JsonOption = False,
    _version: VersionOption = False,
) -> None:
    """Make the context of the command, from the options before and after its name."""
    source = ctx.get_parameter_source("site")
    is_typed = source is not None and source.name == "COMMANDLINE"
    ctx.obj = CommandContext.typed = CommandContext(
        site,
        as_json=as_json,
        typed_site=site if is_typed else "",
        words=ctx.meta["words"],
        warnings=RecordWarnings.of_command(),
    )


def fail(ctx: typer.Context, error: BaseException) -> NoReturn:
    """End with an error, which may have come before there was a command to make a context for."""
    if ctx.obj is None:
        make_context(ctx, **ctx.params)
    command: CommandContext = ctx.obj
    told, typed = explained(error, command.words), options_first(ctx.command.params, command.words)[1]
    if told.then == shlex.join(["neo", *typed]):
        told.then += MENDED
    command.fail(told)


COMMANDS: dict[str, Callable[..., None]] = {
    "init": init,
    "plan": plan,
    "pin": pin_,
    "estimate": estimate,
    "run": run,
    "submit": submit,
    "resume": resume,
    "status": status,
    "cancel": cancel,
    "retry": retry,
    "skip": skip,
    "logs": logs,
    "show": show,
    "report": report,
    "look": look,
    "files": files,
    "get": get,
    "view": view,
    "push": push,
    "trace": trace,
    "where": where,
    "index": index,
    "row": row,
    "seen": seen,
    "exposure": exposure,
    "impact": impact,
    "diff": diff,
    "ask": ask,
    "serve": serve,
    "audit": audit,
    "verify": verify,
    "sign": sign,
    "disclose": disclose,
    "takedown": takedown,
    "gc": gc,
    "doctor": doctor,
    "list": list_,
    "stages": stages_,
    "describe": describe,
    "mirror": mirror_,
}
for name, function in COMMANDS.items():
    app.command(name, cls=NeoCommand, epilog=epilog_of(name))(function)


def options_first(options: Sequence[Any], args: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that are or belong to one of these options, and the others. Nothing after `--` is an option.

    >>> options_first([site_option, json_option], ["status", "--json", "--site", "lab", "tiny"])
    (['--json', '--site', 'lab'], ['status', 'tiny'])
    """
    is_flag = {name: option.is_flag for option in options for name in option.opts}
    first: list[str] = []
    others: list[str] = []
    words = iter(args)
    for word in words:
        option, equals, _ = word.partition("=")
        if word == "--":
            others += [word, *words]
        elif option not in is_flag:
            others.append(word)
        elif equals or is_flag[option]:
            first.append(word)
        elif (value := next(words, None)) is not None:
            first += [word, value]
        else:
            others.append(word)  # `neo status --site`: click says that the value is missing
    return first, others


def explained(error: BaseException, words: Sequence[str]) -> CommandError:
    """An error as a message, an exit code and the command to type next. `words` were typed."""
    if isinstance(error, CommandError):
        error.then = corrected(words, str(error)) or error.then
        return error
    if isinstance(error, KeyboardInterrupt):
        return StoppedError("stopped by Ctrl-C", then="neo list")
    if isinstance(error, UsageError):
        path = error.ctx.command_path if error.ctx is not None else "neo"
        message = error.format_message()
        return BadCommandError(message, then=corrected(words, message) or f"{path} --help")
    return RefusedError(str(error), then=_mending(error, shlex.join(["neo", *words])))


def _mending(error: BaseException, again: str) -> str:
    """The command that mends what the store or the system refused: the one that the message names, or `again`."""
    if isinstance(error, TornRecordError):
        return f"{again}   (once that file is put back from a copy)"
    if isinstance(error, StoreError) and (repair := REPAIR_COMMAND.search(str(error))):
        return repair[1]
    if isinstance(error, StoreError) and not isinstance(
        error, DiskFullError | StoreDeniedError | StoreUnavailableError
    ):
        return "neo list   (`neo audit` of a name there says what is damaged)"
    return f"{again}{MENDED}"


def corrected(words: Sequence[str], message: str) -> str | None:
    """The command that was typed, with the word that a message suggests; None where it suggests none.

    >>> corrected(["show", "tiny/evalute"], "nothing is called 'tiny/evalute' (did you mean 'tiny/evaluate'?)")
    'neo show tiny/evaluate'
    """
    match = MEANT.search(message)
    if match is None:
        return None
    typed = re.compile(rf"(?<![\w-]){re.escape(match[1])}(?![\w-])")
    at = next((index for index, word in enumerate(words) if typed.search(word)), None)
    if at is None:
        return None
    right = typed.sub(match[2].replace("\\", r"\\"), words[at], count=1)
    return shlex.join(["neo", *words[:at], right, *words[at + 1 :]])


def main() -> None:
    """The entry point of `neo`."""
    clean_log_lines()
    replace_unwritable()
    try:
        app(prog_name="neo")
    except KeyboardInterrupt:  # before a command began, or after it ended
        sys.exit(int(ExitCode.INTERRUPTED))
    except Exception:  # what no command expects: its message may hold text of others
        write_text(traceback.format_exc(), stderr=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
