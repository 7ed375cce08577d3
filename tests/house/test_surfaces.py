"""Text reaches a terminal, a page, Markdown or CSV through the functions of its surface, and in no other way.

What writes to a surface may be called in one file alone, and a file that writes tags of HTML or SVG must pass what it
puts between them through `markup_text`. Each function has a property test in `tests/stages/surfaces`.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.test_layout import FILES, ROOT

CONSOLE = "pipelines/screen/console.py"
OWNERS = {
    "print": (CONSOLE,),
    "typer.echo": (CONSOLE,),
    "typer.secho": (CONSOLE,),
    "click.echo": (CONSOLE,),
    "Console": (CONSOLE,),
    "rich.print": (CONSOLE,),
    "sys.stdout.write": (CONSOLE, "neo_model/reference.py"),
    "sys.stderr.write": (CONSOLE, "neo_model/reference.py"),
    "traceback.print_exc": (CONSOLE,),
    "traceback.print_exception": (CONSOLE,),
    "csv.writer": ("stages/surfaces/csv_tables.py",),
    "csv.DictWriter": ("stages/surfaces/csv_tables.py",),
    "escape": ("stages/surfaces/markup.py",),
    "html.escape": ("stages/surfaces/markup.py",),
    "saxutils.escape": ("stages/surfaces/markup.py",),
    "RunTag": ("pipelines/tracking/client.py",),
    "Param": ("pipelines/tracking/client.py",),
}
"""What writes to a surface, to the files that may call it. `neo_model.reference` is a script of its own, which shows
names of ours and numbers."""
TAG = re.compile(r"</(?:a|b|body|code|d[dlt]|div|figure|figcaption|g|h[1-6]|html|i|li|ol|p|pre|section|span|style|svg|"
                 r"t[dhr]|table|text|title|ul)>")  # fmt: skip
RULE_OF_A_TABLE = re.compile(r"\|\s*:?---")
"""The line below the head of a table in Markdown, which `stages/surfaces/markdown.py` writes."""


def calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield node.lineno, ast.unparse(node.func)


def strings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of every string but docstrings, and of the parts of f-strings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def strays(path: str, tree: ast.AST) -> list[str]:
    """What in a file reaches a surface past its function."""
    found = [
        f"{path}:{line}: {name} is called in {', '.join(OWNERS[name])} alone"
        for line, name in calls(tree)
        if name in OWNERS and path not in OWNERS[name]
    ]
    names = {name for _, name in calls(tree)}
    for line, text in strings(tree):
        if TAG.search(text) and "markup_text" not in names:
            found.append(f"{path}:{line}: a page whose text does not pass `markup_text`")
        if RULE_OF_A_TABLE.search(text) and path != "stages/surfaces/markdown.py":
            found.append(f"{path}:{line}: a table in Markdown that `stages.surfaces.markdown.table` does not write")
    return found


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_reaches_surfaces_through_their_functions(path: Path) -> None:
    assert strays(str(path), ast.parse((ROOT / path).read_text())) == []


def test_a_stray_is_found() -> None:
    told = strays(
        "pipelines/commands/new.py",
        ast.parse(
            'import typer\nprint("a")\ntyper.echo("b")\nsys.stderr.write("c")\nConsole()\ncsv.writer(f)\nescape("d")\n'
            'page = f"<p>{caption}</p>"\nnote = "| --- |"\n'
        ),
    )
    assert sorted(line.split(": ")[0].rpartition(":")[2] for line in told) == ["2", "3", "4", "5", "6", "7", "8", "9"]


def test_no_owner_is_named_in_vain() -> None:
    files = {str(path) for path in FILES}
    assert {path for owners in OWNERS.values() for path in owners} <= files
