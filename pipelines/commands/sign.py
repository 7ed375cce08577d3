"""`neo sign`: a signature over a folder, or over an artifact of the store, by a key that stays with its owner."""

from __future__ import annotations

import hashlib
import os
import shlex
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.context import CommandContext
from pipelines.evidence.folder_check import SIGNATURE_FILE, check_folder
from pipelines.evidence.signatures import ignored_by, is_export, sign_digests, signed_digests
from pipelines.exits import BadCommandError, RefusedError
from pipelines.outside.copy_record import record_bytes
from pipelines.outside.held_files import held_files
from pipelines.outside.target_folder import HIDDEN
from pipelines.runs.refs import resolve_artifact
from pipelines.screen.byte_progress import bytes_bar
from stages.artifacts.artifact import Artifact, open_artifact
from stages.artifacts.kinds import LINEAGE_FILE, ExportedCheckpoint


def sign(
    ctx: typer.Context,
    ref: Annotated[
        str,
        typer.Argument(metavar="REF|FOLDER", help="An artifact of the store, or a folder that `neo verify` accepts."),
    ],
    *,
    key: Annotated[Path, typer.Option("--key", metavar="PRIVATE.pem", help="A private key on an elliptic curve.")],
    password_variable: Annotated[
        str | None, typer.Option("--password-variable", metavar="NAME", help="Environment variable with its password.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Where the signature goes; by default model.sig.")
    ] = None,
) -> None:
    """Sign what FOLDER or REF holds, in the format of model-signing.

    Of a folder, every file is compared with its record first. Of REF, the digests of its manifest are signed and no
    file is read; the signature belongs beside a copy that `neo get` makes.
    """
    command: CommandContext = ctx.obj
    if not key.is_file():
        raise BadCommandError(f"{key} is no file", then="neo sign --help")
    password = _password(password_variable)
    folder = Path(ref).expanduser()
    is_folder = folder.is_dir()
    digests, ignored, name = _of_folder(command, folder) if is_folder else _of_artifact(command, ref)
    target = to or (folder / SIGNATURE_FILE if is_folder else Path(SIGNATURE_FILE))
    if is_folder and to is not None and to.resolve().is_relative_to(folder.resolve()):
        raise BadCommandError(
            f"{to} lies in {folder}, where only {SIGNATURE_FILE} is not signed", then="neo sign --help"
        )
    sign_digests(digests, key, target, name=name, ignored=ignored, password=password)
    command.say(f"{target}: a signature over {len(digests):,} files of {name}.")
    document = {"signature": str(target), "name": name, "num_files": len(digests)}
    if not is_folder:
        command.end(document, then="neo verify --help   (beside a copy by `neo get`, with --signature and --key)")
    shown = [] if to is None else ["--signature", str(target)]
    command.end(document, then=f"{shlex.join(['neo', 'verify', str(folder), *shown])}   (with --key: whose it is)")


def _of_folder(command: CommandContext, folder: Path) -> tuple[dict[str, str], list[str], str]:
    """Digests, paths that are left out, and the name of a folder. Raises `RefusedError` where it is not as recorded."""
    report = check_folder(folder, partial(bytes_bar, command.console))
    if report.findings or report.record is None:
        first = report.findings[0]
        raise RefusedError(
            f"{folder} is not as recorded, and is not signed: {first.path} {first.told}"
            + (f", and {len(report.findings) - 1} more" if len(report.findings) > 1 else ""),
            then=shlex.join(["neo", "verify", str(folder)]),
        )
    own = not report.record.is_copy or is_export(report.record.artifact)
    return signed_digests(report), ignored_by(is_export=own), folder.resolve().name


def _of_artifact(command: CommandContext, ref: str) -> tuple[dict[str, str], list[str], str]:
    """Digests, paths that are left out, and the name of an artifact, from its manifest and the heads behind it."""
    store = command.store_to_read(delivers=False)
    artifact = open_artifact(store, *resolve_artifact(store, ref), Artifact)
    digests = {file.path: file.entry.sha256 for file in held_files(artifact)}
    own = artifact.head.kind == ExportedCheckpoint.kind
    if not own:
        digests[f"{HIDDEN}/{LINEAGE_FILE}"] = hashlib.sha256(record_bytes(artifact)).hexdigest()
    return digests, ignored_by(is_export=own), f"{artifact.stage}-{artifact.short}"


def _password(variable: str | None) -> str | None:
    if variable is None:
        return None
    password = os.environ.get(variable)
    if password is None:
        raise BadCommandError(f"the environment variable {variable} is not set", then="neo sign --help")
    return password
