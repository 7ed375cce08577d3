"""`neo`: the command line. Owns which commands there are and how errors become a message and an exit code."""

from __future__ import annotations

import shlex
import sys

import typer

from pipelines.commands.audit import audit
from pipelines.commands.cancel import cancel
from pipelines.commands.doctor import doctor
from pipelines.commands.estimate import estimate
from pipelines.commands.list import list_
from pipelines.commands.logs import logs
from pipelines.commands.mirror import mirror_
from pipelines.commands.output import complain
from pipelines.commands.plan import plan
from pipelines.commands.resume import resume
from pipelines.commands.run import run
from pipelines.commands.show import show
from pipelines.commands.status import status
from pipelines.commands.submit import submit
from pipelines.commands.trace import trace
from pipelines.exits import BadCommandError, CommandError, ExitCode, RefusedError
from stages.store.errors import DiskFullError, StoreDeniedError, StoreError, StoreUnavailableError, TornRecordError

EPILOG = (
    "Exit codes: 0 done or nothing to do, 1 a step failed (run again goes on), 2 bad command or recipe, "
    "3 refused before start, 4 resume refused, 5 superseded, 75 interrupted (run again goes on)."
)

app = typer.Typer(
    name="neo",
    help="Train native vision-language models: plan a pipeline, run it, go on after anything, and trace what it made.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("plan")(plan)
app.command("estimate")(estimate)
app.command("run")(run)
app.command("submit")(submit)
app.command("resume")(resume)
app.command("status")(status)
app.command("cancel")(cancel)
app.command("logs")(logs)
app.command("show")(show)
app.command("trace")(trace)
app.command("audit")(audit)
app.command("doctor")(doctor)
app.command("list")(list_)
app.command("mirror")(mirror_)


def main() -> None:
    """The entry point of `neo`."""
    as_json = "--json" in sys.argv
    try:
        app()
    except CommandError as error:
        sys.exit(complain(error, as_json=as_json))
    except StoreError as error:
        sys.exit(complain(RefusedError(str(error), then=goes_on_after(error)), as_json=as_json))
    except OSError as error:  # of this machine: nothing that a traceback would help with
        sys.exit(complain(RefusedError(str(error), then=f"{typed()}   (once that is mended)"), as_json=as_json))
    except KeyboardInterrupt:
        stopped = BadCommandError("stopped by Ctrl-C", then="neo list")
        complain(stopped, as_json=as_json)
        sys.exit(int(ExitCode.INTERRUPTED))


def goes_on_after(error: StoreError) -> str:
    """The same command where the store, a disk or a record was in the way; else the one that names what is damaged."""
    if isinstance(error, DiskFullError | StoreDeniedError | StoreUnavailableError):
        return f"{typed()}   (once that is mended)"
    if isinstance(error, TornRecordError):
        return f"{typed()}   (once that file is put back from a copy)"
    return "neo audit REF   (names what is damaged)"


def typed() -> str:
    """The command as it was typed."""
    return shlex.join(["neo", *sys.argv[1:]])


if __name__ == "__main__":
    main()
