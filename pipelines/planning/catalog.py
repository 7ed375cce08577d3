"""Finding pipelines: the shipped ones by name, and a user's own as `path/to/file.py:function`.

Owns the check that a pipeline is one graph with usable names. Loads nothing heavy: pipelines import stages, and stages
import their tools inside the functions that use them.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from pipelines.exits import BadCommandError
from stages.contract import USER_FILE_PREFIX, BindError, Step

AnyStep: TypeAlias = Step[Any]

RECIPES_FOLDER = Path(__file__).parents[1] / "recipes"
NAME_PATTERN = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_-]{0,99}")


@dataclass(frozen=True)
class UserFile:
    """A user's own pipeline file, kept whole so that a run needs nothing but the store to resume."""

    path: str
    module: str
    sha256: str
    source: str


@dataclass(frozen=True)
class Pipeline:
    """A graph of steps under a name: what the pipeline's function returned."""

    name: str
    request: str
    """The name as it was typed: `tiny` or `path/to/file.py:function`."""
    targets: tuple[AnyStep, ...]
    user_file: UserFile | None = None

    @property
    def steps(self) -> dict[str, AnyStep]:
        """All steps by name, inputs before what reads them."""
        return {step.name: step for target in self.targets for step in target.walk()}


def shipped_pipelines() -> dict[str, str]:
    """The first line of the docstring of each shipped pipeline, by name. Imports none of them."""
    found: dict[str, str] = {}
    for path in sorted(RECIPES_FOLDER.glob("*.py")):
        if not path.stem.startswith("_"):
            docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            found[path.stem] = docstring.partition("\n")[0]
    return found


def find_pipeline(request: str) -> Pipeline:
    """The pipeline that `request` names. Raises `BadCommandError` with a suggestion if there is none."""
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


def load_user_file(file: UserFile) -> ModuleType:
    """The module of a user's file, made from its recorded source, registered so that its stages can be found."""
    if file.module in sys.modules:
        return sys.modules[file.module]
    module = ModuleType(file.module)
    module.__file__ = file.path
    sys.modules[file.module] = module
    try:
        exec(compile(file.source, file.path, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[file.module]
        raise
    return module


def _from_file(request: str) -> Pipeline:
    text, _, function = request.rpartition(":")
    if not text or not function or not text.endswith(".py"):
        raise BadCommandError(
            f"{request!r} names no pipeline; a pipeline of your own is named path/to/file.py:function", then="neo list"
        )
    path = Path(text).expanduser()
    if not path.is_file():
        raise BadCommandError(f"there is no file {text}", then=f"neo plan path/to/file.py:{function}")
    file = read_user_file(path)
    try:
        module = load_user_file(file)
    except Exception as error:
        raise BadCommandError(
            f"{text} cannot be loaded: {_where(error, file.path)}", then=f"neo plan {request}"
        ) from error
    found = getattr(module, function, None)
    if not callable(found):
        functions = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise BadCommandError(
            f"{text} has no function {function!r}{suggestion(function, functions)}", then=f"neo plan {request}"
        )
    name = re.sub(r"[^0-9A-Za-z_]+", "-", function).strip("-") or "pipeline"
    return _checked(Pipeline(name, request, _called(found, request), file))


def read_user_file(path: Path) -> UserFile:
    """A user's file as it is now. Its module's name holds the digest of its text: an edited file is another one."""
    source = path.read_text(encoding="utf-8")
    sha256 = hashlib.sha256(source.encode()).hexdigest()
    stem = re.sub(r"\W+", "_", path.stem)
    return UserFile(str(path.resolve()), f"{USER_FILE_PREFIX}{stem}_{sha256[:12]}", sha256, source)


def _called(function: Any, request: str) -> tuple[AnyStep, ...]:
    try:
        returned = function()
    except Exception as error:
        path = getattr(getattr(function, "__code__", None), "co_filename", "")
        raise BadCommandError(f"{request} fails: {_where(error, path)}", then=f"neo plan {request}") from error
    targets = (returned,) if isinstance(returned, Step) else returned
    if not isinstance(targets, tuple | list) or not targets or not all(isinstance(item, Step) for item in targets):
        raise BadCommandError(
            f"{request} returned {returned!r}; a pipeline returns a step or several, as stage.bind(...) makes them",
            then=f"neo plan {request}",
        )
    return tuple(targets)


def _where(error: BaseException, path: str) -> str:
    """The error in words, with the line of the user's file that raised it."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else lines[-1] if lines else None
    place = f"line {line}: " if line else ""
    return f"{place}{error if isinstance(error, BindError) else f'{type(error).__name__}: {error}'}"


def _checked(pipeline: Pipeline) -> Pipeline:
    seen: dict[str, AnyStep] = {}
    for step in (step for target in pipeline.targets for step in _everything(target)):
        if not NAME_PATTERN.fullmatch(step.name):
            raise BadCommandError(
                f"step name {step.name!r}: use 1 to 100 letters, digits, _ and -, not beginning with -",
                then=f"neo plan {pipeline.request}",
            )
        other = seen.setdefault(step.name, step)
        if other.fingerprint != step.fingerprint:
            raise BadCommandError(
                f"two different steps are named {step.name!r} ({other.stage.name} and {step.stage.name}); "
                "--set and references need one name for one step",
                then=f"neo plan {pipeline.request}",
            )
    return pipeline


def _everything(step: AnyStep) -> Iterator[AnyStep]:
    for dependency in step.edges.values():
        yield from _everything(dependency)
    yield step
