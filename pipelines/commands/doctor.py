"""`neo doctor`: check that this machine and site can run a pipeline; one line for each check."""

from __future__ import annotations

import typer
from rich.text import Text

from pipelines.commands.context import CommandContext
from pipelines.doctor import CheckResult, check_all
from pipelines.exits import ExitCode
from pipelines.screen.console import clean

STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}


def doctor(ctx: typer.Context) -> None:
    """Check that this machine and site can run a pipeline.

    Checks packages, store, disk, memory, tracker, Ray and GPUs. The exit code is 3 if a check failed.
    """
    command: CommandContext = ctx.obj
    site = command.site
    command.say(f"site {site.name}: store {site.store}", "")
    results = []
    for result in check_all(site):
        results.append(result)
        command.say(_line(result))
    failed = sum(result.verdict == "failed" for result in results)
    warned = sum(result.verdict == "warning" for result in results)
    summary = f"{failed} failed, {warned} to look at." if failed or warned else "Everything a run needs is there."
    command.say("", summary)
    document = {"site": site.name, "findings": [result.document() for result in results]}
    if failed:
        command.end(document, then="neo doctor   (once that is fixed)", code=ExitCode.REFUSED)
    command.end(document, then="neo plan tiny")


def _line(result: CheckResult) -> Text:
    line = Text(f"{result.name:<11} ").append(f"{result.verdict:<8} ", STYLES[result.verdict])
    line.append(clean(result.summary))
    return line.append(clean(f"\n{'':<21}{result.remedy}"), "cyan") if result.remedy else line
