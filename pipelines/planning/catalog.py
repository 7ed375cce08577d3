"""The catalog of pipelines: the shipped ones by name, and a user's own as `path/to/file.py:function`.

Owns loading a pipeline, and the check that it is one graph whose steps have valid and unique names. Imports nothing
heavy: stages import torch and the like inside the functions that use them.
"""

from __future__ import annotations

import ast
import importlib
import re
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from pipelines.exits import MENDED, BadCommandError
from stages.contract import BindError, Step, UserFile, load_user_file, read_user_file

AnyStep: TypeAlias = Step[Any]

RECIPES_FOLDER = Path(__file__).parents[1] / "recipes"
NAME_PATTERN = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_-]{0,99}")


@dataclass(frozen=True)
class Pipeline:
    """A graph of steps with a name, as the pipeline's function returned it."""

    name: str
    """The pipeline's name, with which names in the store begin: `tiny` in `tiny/evaluate`."""
    request: str
    """The pipeline as it was typed: `tiny` or `path/to/file.py:function`."""
    targets: tuple[AnyStep, ...]
    """The steps that the function returned; the others are reached through their inputs."""
    user_file: UserFile | None = None
    """The user's file that the pipeline comes from; None for a shipped one."""

    @property
    def steps(self) -> dict[str, AnyStep]:
        """All steps by name, inputs before what reads them."""
        return {step.name: step for target in self.targets for step in target.walk()}


def shipped_pipelines() -> dict[str, str]:
    """The first line of the docstring of each shipped pipeline, by name. Imports none of them."""
    descriptions: dict[str, str] = {}
    for path in sorted(RECIPES_FOLDER.glob("*.py")):
        if not path.stem.startswith("_"):
            docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            descriptions[path.stem] = docstring.partition("\n")[0]
    return descriptions


def find_pipeline(request: str) -> Pipeline:
    """The pipeline that `request` names. Raises `BadCommandError`, with a suggestion, if it cannot be loaded or run."""
    if ":" in request or request.endswith(".py"):
        return _from_file(request)
    shipped = shipped_pipelines()
    if request not in shipped:
        raise BadCommandError(
            f"there is no pipeline {request!r}{suggestion(request, shipped)}; shipped are: {', '.join(shipped)}; "
            "a pipeline of your own is named path/to/file.py:function",
            then="neo list",
        )
    module = importlib.import_module(f"pipelines.recipes.{request}")
    return _checked(Pipeline(request, request, _called(getattr(module, request), request)))


def suggestion(word: str, known: Sequence[str] | dict[str, Any]) -> str:
    """` (did you mean 'kept'?)` if one of the known words is close, else nothing."""
    close = get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _from_file(request: str) -> Pipeline:
    """The pipeline `path/to/file.py:function`."""
    text, _, function = request.rpartition(":")
    if not text or not function or not text.endswith(".py"):
        raise BadCommandError(
            f"{request!r} names no pipeline; a pipeline of your own is named path/to/file.py:function", then="neo list"
        )
    path = Path(text).expanduser()
    if not path.is_file():
        raise BadCommandError(f"there is no file {text}", then="neo list")
    file, module = load_from(path, text, then=f"neo plan {request}{MENDED}")
    returns_steps = getattr(module, function, None)
    if not callable(returns_steps):
        functions = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise BadCommandError(
            f"{text} has no function {function!r}{suggestion(function, functions)}", then=f"neo plan {request}{MENDED}"
        )
    name = re.sub(r"[^0-9A-Za-z_]+", "-", function).strip("-") or "pipeline"
    return _checked(Pipeline(name, request, _called(returns_steps, request), file))


def load_from(path: Path, text: str, then: str) -> tuple[UserFile, ModuleType]:
    """A user's file as it is now, and its module. Raises `BadCommandError` about `text`, the path as it was typed."""
    try:
        file = read_user_file(path)
        return file, load_user_file(file)
    except Exception as error:
        raise BadCommandError(f"{text} cannot be loaded: {_where(error, path)}", then=then) from error


def _called(function: Any, request: str) -> tuple[AnyStep, ...]:
    """The steps that a pipeline's function returns. Raises `BadCommandError` if it fails or returns something else."""
    try:
        returned = function()
    except Exception as error:
        path = Path(getattr(getattr(function, "__code__", None), "co_filename", ""))
        raise BadCommandError(f"{request} fails: {_where(error, path)}", then=f"neo plan {request}{MENDED}") from error
    targets = (returned,) if isinstance(returned, Step) else returned
    if not isinstance(targets, tuple | list) or not targets or not all(isinstance(item, Step) for item in targets):
        raise BadCommandError(
            f"{request} returned {returned!r}; a pipeline returns a step or several, as stage.bind(...) makes them",
            then=f"neo plan {request}{MENDED}",
        )
    return tuple(targets)


def _where(error: BaseException, path: Path) -> str:
    """An error as text, with the line of the user's file `path` that raised it: `line 12: ValueError: ...`.

    A line of a module beside it is named with its file: `lib/clean.py line 3: ...`.
    """
    folder, main = path.resolve().parent, path.resolve().name
    places = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((Path(error.filename), error.lineno))
    own = [(file.relative_to(folder), line) for file, line in places if line and file.is_relative_to(folder)]
    place = ""
    if own:
        file, line = own[-1]
        place = f"line {line}: " if file == Path(main) else f"{file} line {line}: "
    return f"{place}{error if isinstance(error, BindError) else f'{type(error).__name__}: {error}'}"


def _checked(pipeline: Pipeline) -> Pipeline:
    """The pipeline itself. Raises `BadCommandError` for an invalid step name, or one name for two different steps.

    One name may appear twice if both steps have the same fingerprint, as when a file builds `llm` in two functions.
    """
    by_name: dict[str, AnyStep] = {}
    for step in (step for target in pipeline.targets for step in _steps_behind(target)):
        if not NAME_PATTERN.fullmatch(step.name):
            raise BadCommandError(
                f"step name {step.name!r}: use 1 to 100 letters, digits, _ and -, not beginning with -",
                then=f"neo plan {pipeline.request}{MENDED}",
            )
        other = by_name.setdefault(step.name, step)
        if other.fingerprint != step.fingerprint:
            raise BadCommandError(
                f"two different steps are named {step.name!r} ({other.stage.name} and {step.stage.name}); "
                "--set and references need one name for one step",
                then=f"neo plan {pipeline.request}{MENDED}",
            )
    return pipeline


def _steps_behind(step: AnyStep) -> Iterator[AnyStep]:
    """A step after all its inputs; unlike `Step.walk`, with steps of equal names."""
    for dependency in step.edges.values():
        yield from _steps_behind(dependency)
    yield step
