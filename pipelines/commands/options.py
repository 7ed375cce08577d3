"""Arguments and options that several commands share: their spelling, metavars and help."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import typer

from pipelines.commands.context import CommandContext

PipelineArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="PIPELINE", help="A shipped pipeline (see `neo list`), or path/to/file.py:function.")
]
RefArgument: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="REF", help="A run, a name such as tiny/evaluate, or 4 or more digits of a fingerprint."),
]
DomainOption: TypeAlias = Annotated[
    str | None, typer.Option("--domain", metavar="HOST", help="Every URL on HOST and on the hosts below it.")
]
RunArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="RUN", help="A run, or a pipeline's name: the run that name points at now.")
]
OptionalRunArgument: TypeAlias = Annotated[
    str | None,
    typer.Argument(metavar="[RUN]", help="A run, or a pipeline's name; without it, the newest that fits."),
]
SiteOption: TypeAlias = Annotated[
    str,
    typer.Option("--site", envvar="NEO_SITE", metavar="SITE", help="A site by name, or a .toml file."),
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Answer with one JSON document on stdout.")]
SetOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="STEP.FIELD=VALUE", help="Set a field of a step's recipe; may be repeated."),
]
UntilOption: TypeAlias = Annotated[
    str | None, typer.Option("--until", metavar="STEP", help="Run this step and the steps it needs, nothing after it.")
]
OnlyOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--only", metavar="STEP", help="Run this step alone, from inputs that are committed and up to date."),
]
UseOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--use", metavar="STEP=FINGERPRINT", help="Use a committed artifact as a step's output; may be repeated."
    ),
]
FromOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        metavar="STEP[=REF]@N",
        help="Begin the training of a step from the checkpoint after N optimizer steps of what that step trained "
        "before, or of what REF names: with other fields or rows from there on. May be repeated.",
    ),
]
RetryRowsOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--retry-rows",
        metavar="STEP=REASONS",
        help="Fetch rows of a download again that failed for these reasons, such as pairs=timeout,server_error or "
        "pairs=transient, into parts of their own; nothing else is fetched. May be repeated; see `neo retry`.",
    ),
]
KeepCodeOption: TypeAlias = Annotated[
    bool,
    typer.Option("--keep-code", help="Continue a run with the code that it was frozen with, not with the newest."),
]
RollbackOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--allow-rollback",
        help="If the newest checkpoint is damaged, quarantine it and continue training from the one before it.",
    ),
]
OnlyFilesOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="PATTERN",
        help="Only files whose path matches, such as '*.parquet', or '*' for all that a model was trained with. May be "
        "repeated.",
    ),
]


def more_option(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    """An option for `with_more_options`, by the name of its attribute of the context."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def with_more_options(*more: inspect.Parameter) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command with further options, which it finds in its context: itself, it has as many as it may."""

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapped(*words: Any, **options: Any) -> None:
            for option in more:
                value = options.pop(option.name, option.default)
                if CommandContext.typed is not None and value is not None:
                    setattr(CommandContext.typed, option.name, tuple(value) if isinstance(value, list) else value)
            command(*words, **options)

        signature = inspect.signature(command, eval_str=True)
        parameters = [*signature.parameters.values(), *more]
        wrapped.__dict__["__signature__"] = signature.replace(parameters=parameters)
        wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return wrapped

    return decorated


def with_retry_rows(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the option `--retry-rows`, as `CommandContext.retry_rows`."""
    return with_more_options(more_option("retry_rows", None, RetryRowsOption))(command)
