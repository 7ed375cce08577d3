"""`neo doctor`: whether a run would find what it needs, one line a check, and what to do where it would not."""

from __future__ import annotations

import typer
from rich.text import Text

from pipelines.commands.context import CommandContext
from pipelines.doctor import Finding, examine
from pipelines.exits import ExitCode
from pipelines.screen.console import clean

STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}


def doctor(ctx: typer.Context) -> None:
    """Try what a run will need, and say what is missing.

    Packages, store, disk, memory, tracker, Ray, GPUs. Ends with 3 where one failed.
    """
    command: CommandContext = ctx.obj
    place = command.site
    command.say(f"site {place.name}: store {place.store}", "")
    found = []
    for finding in examine(place):
        found.append(finding)
        command.say(_line(finding))
    failed = sum(finding.verdict == "failed" for finding in found)
    warned = sum(finding.verdict == "warning" for finding in found)
    summary = f"{failed} failed, {warned} to look at." if failed or warned else "Everything a run needs is there."
    command.say("", summary)
    document = {"site": place.name, "findings": [finding.document() for finding in found]}
    if failed:
        command.end(document, then="neo doctor   (once that is mended)", code=ExitCode.REFUSED)
    command.end(document, then="neo plan tiny")


def _line(finding: Finding) -> Text:
    line = Text(f"{finding.name:<11} ").append(f"{finding.verdict:<8} ", STYLES[finding.verdict])
    line.append(clean(finding.said))
    return line.append(clean(f"\n{'':<21}{finding.do}"), "cyan") if finding.do else line
