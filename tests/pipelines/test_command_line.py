"""The command line is frozen in `command_line.txt`: what changes there is promised to scripts, and meant.

Write it again on purpose: python -m tests.pipelines.test_command_line > tests/pipelines/command_line.txt
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from pipelines.cli import COMMANDS, app

FROZEN = Path(__file__).with_name("command_line.txt")


def command_line() -> Iterator[str]:
    """A line for `neo`, then one for each command and each of its arguments and options."""
    group = typer.main.get_command(app)
    yield f"neo {' '.join(_spelled(param) for param in group.params)}"
    for name, command in group.commands.items():
        arguments = [param for param in command.params if param.param_type_name == "argument"]
        yield ""
        yield " ".join(["neo", name, *map(_spelled, arguments)])
        for param in command.params:
            if param not in arguments:
                yield f"    {_spelled(param)}"


def _spelled(param: Any) -> str:
    if param.param_type_name == "argument":
        name = param.metavar.strip("[]")
        return name if param.required else f"[{name}]"
    words = ", ".join(param.opts) if param.is_flag else f"{', '.join(param.opts)} {param.metavar}"
    repeats = " ..." if param.multiple else ""
    return f"{words}{repeats}{' (hidden: an old spelling)' if param.hidden else ''}"


def test_the_command_line_is_the_one_that_is_written_down() -> None:
    assert "\n".join(command_line()) + "\n" == FROZEN.read_text()


def test_every_command_is_registered() -> None:
    files = {path.stem for path in (Path(__file__).parents[2] / "pipelines" / "commands").glob("*.py")}
    shared = {"__init__", "asked_about", "context", "examples", "find_asked", "options", "pending_job", "selection"}
    shared |= {"making", "sighting_words", "unindexed"}
    assert files - shared == set(COMMANDS)


if __name__ == "__main__":
    print("\n".join(command_line()))
