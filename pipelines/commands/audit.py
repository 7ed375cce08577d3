"""`neo audit`: verify every hash and count behind an artifact, name damage, and with `--repair` quarantine it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Annotated, NoReturn, TypeAlias

import typer

from pipelines.commands.context import CommandContext
from pipelines.commands.options import RefArgument
from pipelines.exits import CommandError, ExitCode, RefusedError
from pipelines.garbage.lists import collections_in_words
from pipelines.lineage.audit import Finding, Report
from pipelines.lineage.audit import audit as audit_lineage
from pipelines.lineage.audit_notes import AuditNotes
from pipelines.lineage.file_checks import Depth, FileReader, Level, read_here
from pipelines.lineage.file_lists import reader_on
from pipelines.lineage.graph import Lineage, Node, lineage_of
from pipelines.lineage.repair import repair as repair_lineage
from pipelines.planning.request import FROZEN_PLAN, Request
from pipelines.running.signals import stop_on_signals
from pipelines.runs.refs import resolve_artifact
from pipelines.runs.resume import newest_run, resume_command
from pipelines.runs.run import PLAN_DIGEST, Run
from pipelines.runs.run_checks import check_names, check_run, check_store
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import ManifestHead
from stages.contract import InterruptedRunError
from stages.store.store import Store

WHAT_TO_DO = (
    "Restore these files from a copy; or have the damaged parts made again: they must come out the same, so nothing "
    "that was made of them changes."
)
STORE_ITSELF = "store"
"""The owner of findings that belong to no artifact and no run."""


LevelOption: TypeAlias = Annotated[
    Level,
    typer.Option(
        "--level", help="quick: records alone. size: the size of each file too. sample: reads some files. full: all."
    ),
]
ShareOption: TypeAlias = Annotated[
    float,
    typer.Option("--share", min=0.0, max=1.0, metavar="SHARE", help="Of --level sample: the share of files read."),
]
SeedOption: TypeAlias = Annotated[
    int, typer.Option("--seed", metavar="N", help="Of --level sample: another number reads other files.")
]
AfreshOption: TypeAlias = Annotated[
    bool, typer.Option("--afresh", help="Read all files, also those that an unfinished audit has read.")
]
HereOption: TypeAlias = Annotated[
    bool, typer.Option("--here", help="Read on this machine alone, also where the site has a cluster.")
]
RepairOption: TypeAlias = Annotated[
    bool,
    typer.Option("--repair", help="Quarantine the records of damaged parts; the next run makes those parts again."),
]


class StoppedAuditError(CommandError):
    """Ctrl-C or SIGTERM ended an audit, which can be continued."""

    code = ExitCode.INTERRUPTED


def audit(
    ctx: typer.Context,
    ref: RefArgument,
    *,
    level: LevelOption = "full",
    share: ShareOption = 0.05,
    seed: SeedOption = 0,
    afresh: AfreshOption = False,
    here: HereOption = False,
    repair: RepairOption = False,
) -> None:
    """Verify every hash and count behind REF.

    Reads the whole chain again, down to the URL tables, with the records of the runs that made it, and names what is
    damaged: on all machines of the site's cluster, else on this one. Broken off, it continues.
    """
    command: CommandContext = ctx.obj
    store, depth = command.store_to_read(), Depth(level, share, seed)
    lineage = lineage_of(store, *resolve_artifact(store, ref))
    target = lineage.target
    notes = AuditNotes.open(store, target.stage, target.fingerprint, depth, afresh=afresh)
    if notes.is_continued:
        command.say(f"Continues an audit that was broken off: {len(notes.known):,} files are read already (--afresh).")

    heads: list[ManifestHead] = []

    def progress(node: Node, head: ManifestHead | None) -> None:
        command.say(f"{node.step:<20} {node.short}  {head.size_bytes if head else 0:,} bytes")
        heads.extend([head] if head else [])

    try:
        with _files_read(command, ref, is_here=here or not depth.looks_at_files) as read_files:
            report = audit_lineage(store, lineage, progress, depth, notes, read_files=read_files)
    except (KeyboardInterrupt, InterruptedRunError) as stop:
        again = f"neo audit {ref} --level {level}" if level != "full" else f"neo audit {ref}"
        raise StoppedAuditError("the audit was stopped", then=f"{again}   (continues)") from stop
    report = _with_runs(store, heads, report)
    command.say("", _in_numbers(report), *report.remarks, *collections_in_words(store))
    if not report.findings:
        command.say(CLEAN[level])
        command.end(report.model_dump(), then=f"neo show {target.fingerprint[:SHOWN_DIGITS]}")
    command.say(f"{len(report.findings)} things are not as they were committed:")
    command.say(*(_in_words(store, finding) for finding in report.findings))
    if repair:
        _repair(store, lineage, report, ref, command)
    command.say("", WHAT_TO_DO)
    command.end(report.model_dump(), then=f"neo audit {ref} --repair", code=ExitCode.STEP_FAILED)


@contextmanager
def _files_read(command: CommandContext, ref: str, *, is_here: bool) -> Iterator[FileReader]:
    """What reads files: the machines of the site's cluster while it is connected, else this machine."""
    if is_here or command.site.is_embedded:
        yield read_here
        return
    from cluster.parts.machines import GRACE_SECONDS, machines_of
    from cluster.session import SessionError

    def tell_stop(_: str) -> None:
        command.say(f"Stops within {GRACE_SECONDS:.0f} s, with what was read noted; Ctrl-C twice stops at once.")

    try:
        with machines_of(command.site, "audit") as machines:
            stopping = partial(stop_on_signals, machines.stop, tell_stop, lambda: False)
            yield reader_on(machines, command.say, stopping)
    except SessionError as error:
        raise RefusedError(str(error), then=f"neo audit {ref} --here   (reads on this machine)") from error


CLEAN: dict[Level, str] = {
    "quick": "The records are as they were committed; no file was looked at.",
    "size": "The records are as they were committed, and each file has its size; none was read.",
    "sample": "The records are as they were committed, each file has its size, and those that were read are whole.",
    "full": "Everything is as it was committed.",
}


def _in_numbers(report: Report) -> str:
    files = f"{report.num_files:,}" if report.num_files == report.num_files_read else f"{report.num_files_read:,} of"
    files = files if report.num_files == report.num_files_read else f"{files} {report.num_files:,}"
    return (
        f"Read {report.num_bytes:,} bytes in {files} files of {report.num_artifacts} artifacts, "
        f"counted {report.num_items:,} items."
    )


def _with_runs(store: Store, heads: Sequence[ManifestHead], report: Report) -> Report:
    """The report with what is wrong with the runs that made the artifacts, with names, and with the store's record."""
    findings = [Finding.of(STORE_ITSELF, damage) for damage in check_store(store)]
    remarks, pipelines = list(report.remarks), dict[str, Request]()
    made = [head.provenance for head in heads]
    for name in dict.fromkeys(str(one["run"]) for one in made if "run" in one):
        digests = {str(one[PLAN_DIGEST]) for one in made if one.get("run") == name and PLAN_DIGEST in one}
        run = Run(store, name)
        findings += [Finding.of(name, damage) for damage in check_run(run, digests)]
        if not digests:
            remarks.append(
                f"Flipped bits beside the fingerprints in {run.folder}/plan.json cannot be found: committed before "
                "manifests kept a digest of it."
            )
        request = FROZEN_PLAN.read_or_skip(store, f"{run.folder}/plan.json")
        if request is not None:
            pipelines[request.pipeline] = request
    for request in pipelines.values():
        findings += [Finding.of(STORE_ITSELF, damage) for damage in check_names(store, request)]
    return report.model_copy(update={"findings": (*report.findings, *findings), "remarks": tuple(remarks)})


def _repair(store: Store, lineage: Lineage, report: Report, ref: str, command: CommandContext) -> NoReturn:
    """Quarantine or restore what is damaged, and name the command that makes it again."""
    done = repair_lineage(store, lineage, report.findings)
    if done.written:
        command.say("", "Written again from the manifest:", *(f"  {key}" for key in done.written))
    if done.aside:
        command.say("", "Quarantined; nothing depends on these:", *(f"  {key}" for key in done.aside))
    if done.moved:
        command.say(
            "", "Quarantined; the next run makes these again, and only these:", *(f"  {key}" for key in done.moved)
        )
    if done.left:
        command.say("", f"{len(done.left)} things need a person: restore these files from a copy.")
        command.say(*(_in_words(store, finding) for finding in done.left))
    document = {**report.model_dump(), "moved": done.moved, "aside": done.aside, "written": done.written}
    code = ExitCode.STEP_FAILED if done.left else ExitCode.DONE
    command.end(document, then=_makes_again(store, lineage) if done.moved else f"neo audit {ref}", code=code)


def _makes_again(store: Store, lineage: Lineage) -> str:
    """The command that resumes the run that met the damage, else the one that made the artifact."""
    waiting, wanted = newest_run(store, unfinished=True), lineage.target.fingerprint
    if waiting is not None and any(step.fingerprint.startswith(wanted) for step in waiting.request.steps):
        return resume_command(waiting)
    head = lineage.target.head
    key = f"runs/{head.provenance.get('run')}/plan.json" if head is not None else ""
    frozen = FROZEN_PLAN.read_or_skip(store, key) if key else None
    return "neo resume" if frozen is None else frozen.command


def _in_words(store: Store, finding: Finding) -> str:
    path = str(store.folder / finding.key) if store.folder else f"{store.url}/{finding.key}"
    return f"  {path}\n    {finding.artifact}: {finding.problem}"
