"""What the sources declare with a text under it: reasons of items, kinds of artifacts and the names of their files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docs.make.markdown import code, page, table
from stages.artifacts.columns import COLUMNS

ROOT = Path(__file__).parents[2]
KINDS = ROOT / "stages" / "artifacts" / "kinds.py"


@dataclass(frozen=True)
class Declared:
    """A name of a module or class with the value it is given and the text under it."""

    name: str
    value: ast.expr
    text: str


def declarations(body: list[ast.stmt]) -> Iterator[Declared]:
    """The constants of a module or class, each with the text under it or ''."""
    for at, node in enumerate(body):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            after = body[at + 1] if at + 1 < len(body) else None
            yield Declared(node.targets[0].id, node.value, _text(after))


def _text(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return ""


def reason_classes() -> Iterator[tuple[Path, ast.ClassDef]]:
    """Every list of reasons of the stages, with the file that holds it."""
    for path in sorted((ROOT / "stages").rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "ItemReason" for base in node.bases):
                yield path.relative_to(ROOT), node


def reasons_page() -> str:
    """Every reason for which an item may end otherwise than kept, by the stage or room that owns it."""
    blocks = []
    for path, node in reason_classes():
        rows = (_reason(one) for one in declarations(node.body))
        owner = path.stem if len(path.parts) == 2 else path.parts[1]
        blocks += [f"## {owner}: {node.name}", ast.get_docstring(node) or "", f"From `{path}`."]
        blocks.append(table(("reason", "verdict", "may be retried", "meaning"), rows))
    return page(
        "Reasons",
        "Every item that enters a stage ends as *kept*, *dropped* (not wanted; a retry would not change that) or "
        "*failed* (wanted but not obtained), each but the first for one of these reasons. `neo show REF` counts them; "
        "`neo retry REF --reasons transient` fetches those again that may be retried.",
        *blocks,
    )


def _reason(one: Declared) -> list[str]:
    parts = one.value.elts if isinstance(one.value, ast.Tuple) else [one.value]
    words = [ast.unparse(part) for part in parts]
    verdict = "failed" if any(word.endswith("FAILED") for word in words) else "dropped"
    retriable = "yes" if "True" in words else "no"
    return [code(ast.literal_eval(parts[0])), verdict, retriable, one.text]


def kinds_page() -> str:
    """The kinds of artifact, each with its files and the phases that others read."""
    blocks: list[str] = []
    rows: list[list[str]] = []
    kind = ""
    body = ast.parse(KINDS.read_text(encoding="utf-8")).body
    named = {one.name: one for one in declarations(body)}
    for node in body:
        if isinstance(node, ast.ClassDef):
            blocks += [*_files(rows), *_tables(kind)]
            kind = node.name
            blocks += [f"## {node.name}", ast.get_docstring(node) or ""]
            rows = []
        elif isinstance(node, ast.Assign) and (one := named[ast.unparse(node.targets[0])]).text:
            rows.append([code(_value(one.value, named)), one.text])
    return page(
        "Kinds of artifact",
        "What a stage makes has a kind, and a kind says what may be bound to what. `neo files REF` lists the files of "
        "one artifact; sample tables and verdict tables are Parquet: the columns below, and behind them those of your "
        "own that were carried, scores and measures.",
        *blocks,
        *_files(rows),
        *_tables(kind),
    )


def _files(rows: list[list[str]]) -> list[str]:
    return [table(("file or phase", "what it holds"), rows)] if rows else []


def _tables(kind: str) -> list[str]:
    """The columns of the tables of a kind, each table with a heading of its own."""
    blocks = []
    for (of, file), columns in COLUMNS.items():
        if of == kind:
            rows = ([code(one.name), one.type, one.meaning] for one in columns)
            blocks += [f"### {file} of {kind}", table(("column", "type", "meaning"), rows)]
    return blocks


def _value(value: ast.expr, named: dict[str, Declared]) -> str:
    """A constant's value, with the constants that an f-string names put in."""
    if isinstance(value, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else _value(named[ast.unparse(part.value)].value, named)
            for part in value.values
            if isinstance(part, ast.Constant | ast.FormattedValue)
        )
    return str(ast.literal_eval(value))
