"""The catalog of stages: the shipped ones by name, and a user's own as `path/to/file.py:function`.

Owns finding a stage. `stage_description.py` says what it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import stages
from pipelines.exits import BadCommandError
from pipelines.planning.catalog import suggestion
from stages.artifacts import kinds
from stages.contract import Stage, load_stage, load_user_file, read_user_file

AnyStage: TypeAlias = Stage[Any]


def shipped_stages() -> dict[str, AnyStage]:
    """The stages of this package by name, in the order in which data passes through them."""
    folder = Path(stages.__path__[0])
    names = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    order = list(vars(kinds))
    found = [load_stage(f"stages.{name}:{name}") for name in names]
    return {stage.name: stage for stage in sorted(found, key=lambda stage: order.index(stage.makes.__name__))}


def find_stage(request: str) -> AnyStage:
    """The stage that `request` names: a shipped one, or `path/to/file.py:function`. Raises `BadCommandError`."""
    if ":" in request or request.endswith(".py"):
        return _stage_of_file(request)
    shipped = shipped_stages()
    if request not in shipped:
        raise BadCommandError(
            f"there is no stage {request!r}{suggestion(request, shipped)}; a stage of your own is named "
            "path/to/file.py:function",
            then="neo stages",
        )
    return shipped[request]


def _stage_of_file(request: str) -> AnyStage:
    text, colon, name = request.rpartition(":")
    path = Path(text if colon else request).expanduser()
    if not path.is_file() or path.suffix != ".py":
        raise BadCommandError(
            f"there is no file {path}; a stage of your own is named path/to/file.py:function", then="neo stages"
        )
    try:
        module = load_user_file(read_user_file(path))
    except Exception as error:
        raise BadCommandError(
            f"{path} cannot be loaded: {type(error).__name__}: {error}", then=f"neo describe {request}"
        ) from error
    here = {key: value for key, value in vars(module).items() if isinstance(value, Stage)}
    if colon and name in here:
        return here[name]
    own = [key for key, stage in here.items() if stage.function.__module__ == module.__name__]
    listed = f"; its stages are: {', '.join(own)}" if own else "; it declares none with @stage"
    missing = f"{path} has no stage {name!r}{suggestion(name, list(here))}" if colon else f"{request!r} names no stage"
    raise BadCommandError(missing + listed, then=f"neo describe {path}:{own[0]}" if own else "neo stages")
