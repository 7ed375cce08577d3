"""The reference of the command line, from its own parser: each command with its arguments and options."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer

from docs.make.markdown import code, page, table
from pipelines.cli import app
from pipelines.exits import ExitCode


def commands_page() -> str:
    """All commands on one page, in the order of `neo --help`."""
    group: Any = typer.main.get_command(app)
    shared = [_spelled(param) for param in group.params]
    index = table(
        ("command", "what it does"), ([f"[`neo {name}`](#neo-{name})", _first(one)] for name, one in _shown(group))
    )
    everywhere = table(("option", "meaning"), ([code(_spelled(one)), one.help] for one in group.params))
    return page(
        "Commands",
        "Every command takes these options, before or after its name, and ends with the command to type next.",
        everywhere,
        "Exit codes are on [a page of their own](../how-to/exit-codes.md).",
        index,
        *(block for name, one in _shown(group) for block in _command(name, one, shared)),
    )


def exit_codes() -> str:
    """The exit codes, with what the code says about each."""
    return table(("code", "name", "meaning"), ([int(one), code(one.name), _described(one)] for one in ExitCode))


def _described(one: ExitCode) -> str:
    _, _, after = inspect.getsource(ExitCode).partition(f"    {one.name} = {one.value}\n")
    return after.split('"""')[1]


def _shown(group: Any) -> Iterator[tuple[str, Any]]:
    return ((name, command) for name, command in group.commands.items() if not command.hidden)


def _first(command: Any) -> str:
    return str(command.help or "").partition("\n\n")[0]


def _command(name: str, command: Any, shared: list[str]) -> Iterator[str]:
    params = [param for param in command.params if not getattr(param, "hidden", False)]
    arguments = [param for param in params if param.param_type_name == "argument"]
    yield f"## neo {name}"
    yield str(command.help or "").strip()
    yield f"```\nneo {' '.join([name, *(_spelled(one) for one in arguments)])} [OPTIONS]\n```"
    options = [param for param in params if param not in arguments and _spelled(param) not in shared]
    rows = [[code(_spelled(one)), _meaning(one)] for one in [*arguments, *options] if "--help" not in one.opts]
    if rows:
        yield table(("argument or option", "meaning"), rows)


def _spelled(param: Any) -> str:
    if param.param_type_name == "argument":
        name = str(param.metavar or param.name.upper()).strip("[]")
        return name if param.required else f"[{name}]"
    return ", ".join(param.opts) if param.is_flag else f"{', '.join(param.opts)} {param.metavar or 'VALUE'}"


def _meaning(param: Any) -> str:
    default = param.default
    shown = f" Default: `{default}`." if isinstance(default, str | int | float) and default not in ("", False) else ""
    return f"{param.help or ''}{shown}"
