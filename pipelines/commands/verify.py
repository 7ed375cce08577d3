"""`neo verify`: whether a folder is what it says, without a store and without a network."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.commands.context import CommandContext
from pipelines.evidence.folder_check import SIGNATURE_FILE, FolderFinding, FolderReport, check_folder
from pipelines.evidence.signatures import SignatureState, check_signature
from pipelines.exits import BadCommandError, ExitCode
from pipelines.screen.byte_progress import bytes_bar, size_in_words
from stages.artifacts.fingerprint import SHOWN_DIGITS

MAX_NAMED = 20
"""Findings that are named for people, at most; the document has all."""


def verify(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="An exported checkpoint, or a copy by `neo get`.")],
    *,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="PUBLIC.pem", help="The signature must be by this key.")
    ] = None,
    signature: Annotated[
        Path | None, typer.Option("--signature", metavar="FILE", help="The signature, if it is not FOLDER/model.sig.")
    ] = None,
) -> None:
    """Compare every file of FOLDER with its digest, offline.

    Its record is compared too: the digests are hashed into the Merkle root, and each root of the lineage follows from
    those before it. Files that are gone, added or renamed are found. Who wrote the record is known by a signature.
    """
    command: CommandContext = ctx.obj
    folder = folder.expanduser()
    for named in (key, signature):
        if named is not None and not named.is_file():
            raise BadCommandError(f"{named} is no file", then="neo verify --help")
    report = check_folder(folder, partial(bytes_bar, command.console))
    state = check_signature(report, signature or folder / SIGNATURE_FILE, key)
    report.findings += state.findings
    command.say(*sentences(report, state))
    again = shlex.join(["neo", *command.words])
    if report.findings:
        command.end(
            document_of(report, state), then=f"{again}   (with a copy that is whole)", code=ExitCode.STEP_FAILED
        )
    if state.is_unchecked:
        command.end(document_of(report, state), then="neo verify --help   (--key says whose signature it is)")
    if state.state == "valid" and report.record is not None:
        short = report.record.artifact["fingerprint"][:SHOWN_DIGITS]
        command.end(document_of(report, state), then=f"neo trace {short}   (where the store that holds it is)")
    command.end(document_of(report, state), then="neo sign --help   (a signature says whose it is)")


def sentences(report: FolderReport, state: SignatureState) -> list[str]:
    """What people are told, a line each; the last one is the verdict."""
    lines = [f"{_where(report, finding)} {finding.told}" for finding in report.findings[:MAX_NAMED]]
    if len(report.findings) > MAX_NAMED:
        lines.append(f"and {len(report.findings) - MAX_NAMED:,} more, which --json names")
    record = report.record
    if record is not None:
        size = size_in_words(report.size_bytes)
        read = f"{report.num_files:,} file{_s(report.num_files)}, {size}"
        lines.append(f"{report.folder} says that it is {record.named}. Read: {read}.")
        number = len(record.document["artifacts"])
        lines += _links(report)
        lines.append(f"Root {record.root}, over {number:,} artifact{_s(number)}." if record.root else "")
        if record.document.get("lacking"):
            lines.append(f"Its lineage was not whole when it was copied: {record.document['lacking']}")
    if report.skipped:
        lines.append(f"Not looked at, since git and hubs put them there: {', '.join(report.skipped)}")
    lines.append(state.told)
    verdict = (
        f"NOT as recorded: {len(report.findings):,} finding{_s(len(report.findings))}"
        if report.findings
        else "All as recorded"
    )
    listed = report.listed
    without = f"{listed.num_not_copied:,} of {listed.num_listed:,} files are not in this copy"
    verdict += f"; {without}." if listed.num_not_copied else "."
    return [_printable(line) for line in (*lines, verdict) if line]


def _links(report: FolderReport) -> list[str]:
    """Sentences that name the links in the places of files."""
    links = [f"{report.folder / path} is a link to {target}" for path, target in report.links.items()]
    if len(links) > MAX_NAMED:
        links[MAX_NAMED:] = [f"and {len(links) - MAX_NAMED:,} more links, which --json names"]
    return [*links, "The bytes of links lie elsewhere, and can change there."] if links else []


def _printable(text: str) -> str:
    """A text with names of files that are no UTF-8, as it can be printed."""
    return text.encode(errors="backslashreplace").decode()


def _s(number: int) -> str:
    return "" if number == 1 else "s"


def _where(report: FolderReport, finding: FolderFinding) -> str:
    return str(report.folder / finding.path)


def document_of(report: FolderReport, state: SignatureState) -> dict[str, Any]:
    """What programs are told."""
    record = report.record
    return {
        "folder": str(report.folder),
        "as_recorded": not report.findings,
        "artifact": record and f"{record.artifact['stage']}/{record.artifact['fingerprint']}",
        "root": record and record.root,
        "num_artifacts": len(record.document["artifacts"]) if record else 0,
        "num_files": report.num_files,
        "size_bytes": report.size_bytes,
        "num_listed": report.listed.num_listed,
        "num_not_copied": report.listed.num_not_copied,
        "findings": [
            {"kind": one.kind, "path": _printable(one.path), "what": _printable(one.told)} for one in report.findings
        ],
        "links": [{"path": path, "target": _printable(target)} for path, target in report.links.items()],
        "not_looked_at": report.skipped,
        "signature": state.state,
        "key_sha256": state.key_sha256,
    }
