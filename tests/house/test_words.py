"""The house speaks the field's plain words: descriptions stand alone, and a private dialect stays out."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.test_layout import FILES, ROOT

FRAGMENT = re.compile(
    r"(?:Of|By|For|As|In|On|Under|With|Whose|Such as|From|Likewise|Ditto|The same|See above)\b(?!-)|.*\blikewise\b",
    re.S,
)
"""How a description begins, or what it holds, that leans on the line above it: "Of the tar.", "Likewise."."""
MIN_WORDS = 2
DIALECT = re.compile(
    r"\b(?:whoever|whomever|whosever|likewise|heeds?|heeded|bury|buries|buried|knocks?|knocked|pantry|courier|"
    r"made anew|decided anew|set aside|sets aside|moved aside|moves aside|goes on (?:to|with|from)|gives up nothing|"
    r"by hand of|errands?|takes no heed|dealt out|what became of)\b",
    re.I,
)
"""Words of a dialect where the field has a term: resume, continue, quarantine, retry, support, probe, end, deliver."""
PAGES = sorted(
    path.relative_to(ROOT)
    for floor in (".", *{path.parts[0] for path in FILES})
    for path in ((ROOT / floor).glob("*.md") if floor == "." else (ROOT / floor).rglob("*.md"))
)


def descriptions(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of each string that explains the field or constant before it."""
    for scope in ast.walk(tree):
        if isinstance(scope, ast.Module | ast.ClassDef):
            for before, after in zip(scope.body, scope.body[1:], strict=False):
                explains = isinstance(before, ast.Assign | ast.AnnAssign) and isinstance(after, ast.Expr)
                if explains and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
                    yield after.lineno, after.value.value


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_description_stands_alone(path: Path) -> None:
    told = descriptions(ast.parse((ROOT / path).read_text()))
    fragments = {line: text for line, text in told if FRAGMENT.match(text) or len(text.split()) < MIN_WORDS}
    assert not fragments, f"say in {path} what these are of: {fragments}"


@pytest.mark.parametrize("path", [*FILES, *PAGES], ids=str)
def test_no_private_word_stands_where_the_field_has_one(path: Path) -> None:
    lines = enumerate((ROOT / path).read_text().splitlines(), 1)
    assert {number: line.strip() for number, line in lines if DIALECT.search(line)} == {}


def test_a_fragment_is_told_from_a_description() -> None:
    assert all(map(FRAGMENT.match, ("Of the tar.", "Likewise.", "Largest picture, likewise.", "By name, in order.")))
    assert not any(map(FRAGMENT.match, ("Longest caption, in characters.", "Forms by name.", "Inputs of the step.")))
