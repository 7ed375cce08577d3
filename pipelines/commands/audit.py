"""`neo audit`: verify every hash and count behind an artifact, name damage, and with `--repair` quarantine it."""

from __future__ import annotations

from typing import Annotated, NoReturn, TypeAlias

import typer

from pipelines.commands.context import CommandContext
from pipelines.commands.options import RefArgument
from pipelines.exits import ExitCode
from pipelines.lineage.audit import Finding, Report
from pipelines.lineage.audit import audit as audit_lineage
from pipelines.lineage.graph import Lineage, Node, lineage_of, size_bytes
from pipelines.lineage.repair import repair as repair_lineage
from pipelines.planning.request import Request
from pipelines.runs.refs import resolve_artifact
from pipelines.runs.resume import newest_run, resume_command
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.store.store import Store

WHAT_TO_DO = (
    "Restore these files from a copy; or have the damaged parts made again: they must come out the same, so nothing "
    "that was made of them changes."
)


RepairOption: TypeAlias = Annotated[
    bool,
    typer.Option("--repair", help="Quarantine the records of damaged parts; the next run makes those parts again."),
]


def audit(ctx: typer.Context, ref: RefArgument, *, repair: RepairOption = False) -> None:
    """Verify every hash and count behind REF.

    Reads the whole chain again, down to the URL tables, and names what is damaged.
    """
    command: CommandContext = ctx.obj
    store = command.store_to_read()
    lineage = lineage_of(store, *resolve_artifact(store, ref))

    def progress(node: Node) -> None:
        command.say(f"{node.step:<20} {node.short}  {size_bytes(node.manifest) if node.manifest else 0:,} bytes")

    report = audit_lineage(store, lineage, progress)
    command.say(
        "",
        f"Read {report.num_bytes:,} bytes in {report.num_files:,} files of {report.num_artifacts} artifacts, "
        f"counted {report.num_items:,} items.",
    )
    if not report.findings:
        command.say("Everything is as it was committed.")
        command.end(report.model_dump(), then=f"neo show {lineage.target.fingerprint[:SHOWN_DIGITS]}")
    command.say(f"{len(report.findings)} things are not as they were committed:")
    command.say(*(_in_words(store, finding) for finding in report.findings))
    if repair:
        _repair(store, lineage, report, ref, command)
    command.say("", WHAT_TO_DO)
    command.end(report.model_dump(), then=f"neo audit {ref} --repair", code=ExitCode.STEP_FAILED)


def _repair(store: Store, lineage: Lineage, report: Report, ref: str, command: CommandContext) -> NoReturn:
    """Quarantine or restore what is damaged, and name the command that makes it again."""
    done = repair_lineage(store, lineage, report.findings)
    if done.written:
        command.say("", "Written again from the manifest:", *(f"  {key}" for key in done.written))
    if done.moved:
        command.say(
            "", "Quarantined; the next run makes these again, and only these:", *(f"  {key}" for key in done.moved)
        )
    if done.left:
        command.say("", f"{len(done.left)} things need a person: restore these files from a copy.")
        command.say(*(_in_words(store, finding) for finding in done.left))
    document = {**report.model_dump(), "moved": done.moved, "written": done.written}
    code = ExitCode.STEP_FAILED if done.left else ExitCode.DONE
    command.end(document, then=_makes_again(store, lineage) if done.moved else f"neo audit {ref}", code=code)


def _makes_again(store: Store, lineage: Lineage) -> str:
    """The command that resumes the run that met the damage, else the one that made the artifact."""
    waiting, wanted = newest_run(store, unfinished=True), lineage.target.fingerprint
    if waiting is not None and any(step.fingerprint.startswith(wanted) for step in waiting.request.steps):
        return resume_command(waiting)
    manifest = lineage.target.manifest
    run = None if manifest is None else store.read_json(f"runs/{manifest.provenance.get('run')}/plan.json")
    return "neo resume" if run is None else Request.model_validate(run).command


def _in_words(store: Store, finding: Finding) -> str:
    path = str(store.folder / finding.key) if store.folder else f"{store.url}/{finding.key}"
    return f"  {path}\n    {finding.artifact}: {finding.problem}"
