"""`neo disclose`: what has to be told of an artifact to others, in the forms that they read."""

from __future__ import annotations

import functools
import inspect
import json
import os
import shlex
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pipelines.commands.context import CommandContext
from pipelines.commands.options import RefArgument
from pipelines.disclosure.ab2013 import ab2013_summary
from pipelines.disclosure.croissant import croissant_document
from pipelines.disclosure.domains import write_domains
from pipelines.disclosure.eu import eu_summary, num_listed
from pipelines.disclosure.facts import TrainingFacts
from pipelines.disclosure.summary import PublicSummary
from pipelines.disclosure.word import write_word
from pipelines.evidence.provenance import provenance_statement
from pipelines.evidence.run_events import post_events, run_events
from pipelines.exits import BadCommandError
from pipelines.runs.refs import resolve, resolve_artifact, run_named
from pipelines.runs.run import Run
from pipelines.screen.console import write_text
from pipelines.screen.documents import spelled
from stages.artifacts.artifact import Artifact, open_artifact
from stages.artifacts.kinds import CARD_FILE, MODEL_PREFIX, ExportedCheckpoint
from stages.store.store import Store

KEY_VARIABLE: Final = "OPENLINEAGE_API_KEY"
"""Environment variable with the key of the endpoint, by the name that clients of OpenLineage give it."""
HELP: Final = "neo disclose --help"
FORMS: Final = {
    "eu": "The EU's public summary of training content, of a model: .docx, .html or .json.",
    "ab2013": "The documentation that California's AB 2013 asks for, of a model: .docx, .html or .json.",
    "croissant": "The data set that it is, as Croissant 1.1 (JSON-LD).",
    "card": "The model card of an export (Markdown).",
    "slsa": "How it was made: an in-toto statement with SLSA provenance 1 (JSON).",
    "openlineage": "The run that made it: OpenLineage events, a line each.",
}
"""What can be told, and what it is."""


def with_forms(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with an option for each form; it is given `form`, the one that was typed."""

    @functools.wraps(command)
    def wrapped(*words: Any, **options: Any) -> None:
        chosen = [name for name in FORMS if options.pop(name)]
        if len(chosen) != 1:
            raise BadCommandError(f"say one of {', '.join(f'--{name}' for name in FORMS)}", then=HELP)
        command(*words, form=chosen[0], **options)

    signature = inspect.signature(command, eval_str=True)
    own = [one for one in signature.parameters.values() if one.name != "form"]
    flags = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False,
            annotation=Annotated[bool, typer.Option(f"--{name}", help=told)],
        )
        for name, told in FORMS.items()
    ]
    parameters = [*own[:2], *flags, *own[2:]]
    wrapped.__dict__["__signature__"] = signature.replace(parameters=parameters)
    wrapped.__annotations__ = {one.name: one.annotation for one in parameters}
    return wrapped


@with_forms
def disclose(
    ctx: typer.Context,
    ref: RefArgument,
    *,
    form: str,
    sme: Annotated[
        bool, typer.Option("--sme", help="With --eu: list domains as small and medium enterprises do.")
    ] = False,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Write it there, and not on stdout.")] = None,
    post: Annotated[
        bool, typer.Option("--post", help="With --openlineage: send it to the address `openlineage` of the site.")
    ] = False,
) -> None:
    """Tell others what REF is and was made from, in their forms.

    Every figure of --eu and --ab2013 stands beside the command that it comes from; what the store cannot know is left
    blank and marked.
    """
    command: CommandContext = ctx.obj
    for is_typed, option, needed in ((sme, "--sme", "eu"), (post, "--post", "openlineage")):
        if is_typed and form != needed:
            raise BadCommandError(f"{option} goes with --{needed}", then=HELP)
    store = command.store_to_read(delivers=False)
    if post:
        _post(command, store, ref)
    if form in ("eu", "ab2013"):
        _summary(command, store, ref, form, to, is_sme=sme)
    else:
        _give(command, _TEXTS[form](store, ref), ref, to, form)


def _croissant(store: Store, ref: str) -> str:
    artifact = open_artifact(store, *resolve_artifact(store, ref), Artifact)
    name = str(artifact.head.provenance.get("step", artifact.stage))
    return _json(croissant_document(artifact, name=name, licence=None, url=None))


def _slsa(store: Store, ref: str) -> str:
    return _json(provenance_statement(open_artifact(store, *resolve_artifact(store, ref), Artifact)))


def _openlineage(store: Store, ref: str) -> str:
    return "".join(spelled(event) + "\n" for event in run_events(_run(store, ref)))


def _card(store: Store, ref: str) -> str:
    export = open_artifact(store, *resolve_artifact(store, ref), ExportedCheckpoint)
    entry = next(one for one in export.model_files if one.name == MODEL_PREFIX + CARD_FILE)
    return export.read(entry).decode()


_TEXTS: Final[dict[str, Callable[[Store, str], str]]] = {
    "croissant": _croissant,
    "card": _card,
    "slsa": _slsa,
    "openlineage": _openlineage,
}


_WRAPPED: Final[dict[str, Callable[[str], dict[str, Any]]]] = {
    "card": lambda text: {"card": text},
    "openlineage": lambda text: {"events": [json.loads(line) for line in text.split("\n") if line]},
}
"""Forms that are no JSON document, and what one holds of them."""


def _json(document: dict[str, Any]) -> str:
    return spelled(document, indent=2) + "\n"


@contextmanager
def _facts(store: Store, ref: str) -> Iterator[TrainingFacts]:
    stage, fingerprint = resolve_artifact(store, ref)
    opened = open_artifact(store, stage, fingerprint, Artifact)
    if not opened.head.holds_model:
        told = f"{ref!r} is {stage}/{opened.short} of kind {opened.head.kind}, no model: summaries are of models"
        raise BadCommandError(told, then=f"neo trace {opened.short}")
    with tempfile.TemporaryDirectory(prefix="neo-disclose-") as scratch:
        yield TrainingFacts(store, stage, opened.fingerprint, Path(scratch))


def _summary(command: CommandContext, store: Store, ref: str, form: str, to: Path | None, *, is_sme: bool) -> None:
    """Fill in a form, and write the domains that it asks for beside it."""
    if to is not None and to.suffix not in SUFFIXES:
        raise BadCommandError(f"{to}: a summary is written as {', '.join(SUFFIXES)}", then=HELP)
    with _facts(store, ref) as facts:
        summary = eu_summary(facts, is_sme=is_sme, ref=ref) if form == "eu" else ab2013_summary(facts)
        if to is None:
            _give(command, _json(summary.document()), ref, None, form)
            return
        to.parent.mkdir(parents=True, exist_ok=True)
        SUFFIXES[to.suffix](summary, to)
        files = [to, *(_domains(facts, to, is_sme=is_sme) if form == "eu" else ())]
    command.say(*(f"{path}: {path.stat().st_size:,} bytes." for path in files), _blanks_in_words(summary))
    document = {"ref": ref, "files": [str(path) for path in files], "blank": summary.blanks}
    command.end(document, then=shlex.join(["neo", "trace", ref]))


def _write_page(summary: PublicSummary, path: Path) -> None:
    path.write_text(summary.page(), encoding="utf-8")


def _write_json(summary: PublicSummary, path: Path) -> None:
    path.write_text(_json(summary.document()), encoding="utf-8")


SUFFIXES: Final[dict[str, Callable[[PublicSummary, Path], None]]] = {
    ".docx": write_word,
    ".html": _write_page,
    ".json": _write_json,
}
"""Suffix of a file to what writes a summary into it."""


def _blanks_in_words(summary: PublicSummary) -> str:
    blanks = summary.blanks
    return f"{len(blanks)} answers are left blank, because the store cannot know them; the first: {blanks[0]}"


def _domains(facts: TrainingFacts, to: Path, *, is_sme: bool) -> Iterator[Path]:
    """The whole lists of domains that the form shows, as CSV beside it; none where nothing came from the web."""
    for suffix, domains in ((".domains.csv", facts.domains), (".others.domains.csv", facts.domains_of_others)):
        if domains.num_urls:
            write_domains(to.with_suffix(suffix), domains.top(num_listed(domains, is_sme=is_sme)))
            yield to.with_suffix(suffix)


def _run(store: Store, ref: str) -> Run:
    """The run that a reference names, or the one that made the artifact which it names."""
    if (name := run_named(store, ref)) is not None:
        return Run(store, name)
    artifact = resolve(store, ref).artifact
    made_by = artifact.head.provenance.get("run") if artifact is not None else None
    if made_by is None or store.read(f"runs/{made_by}/plan.json") is None:
        raise BadCommandError(f"{ref!r} names no run, and the store has none that made it", then="neo list")
    return Run(store, str(made_by))


def _post(command: CommandContext, store: Store, ref: str) -> None:
    address = command.site.openlineage
    if not address:
        told = f'site {command.site.name} has no address for events: openlineage = "http://HOST:5000" in its file'
        raise BadCommandError(told, then=HELP)
    run = _run(store, ref)
    number = post_events(address, run_events(run), os.environ.get(KEY_VARIABLE))
    command.say(f"{address} took {number:,} events of {run.name}.")
    command.end({"run": run.name, "address": address, "num_events": number}, then=f"neo show {run.name}")


def _give(command: CommandContext, text: str, ref: str, to: Path | None, form: str) -> None:
    """Write what is told to a file, or to stdout as it is, without a next command behind it. With `--json`, text that
    is no JSON document stands in one."""
    if to is None and command.as_json and form in _WRAPPED:
        command.end({"ref": ref, **_WRAPPED[form](text)}, then=shlex.join(["neo", "trace", ref]))
    if to is None:
        write_text(text)
        return
    _written(to, text)
    command.say(f"{to}: {to.stat().st_size:,} bytes.")
    document: dict[str, Any] = {"ref": ref, "files": [str(to)], "blank": []}
    command.end(document, then=shlex.join(["neo", "trace", ref]))


def _written(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
