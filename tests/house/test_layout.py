"""How the house is kept: every file opens by saying what it owns, stays small, and has a name that says something."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = ("neo_model", "stages", "cluster", "pipelines", "neo_pipelines")
BANNED_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "core"}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_CLASS_LINES = 150
MAX_ARGUMENTS = 8

FILES = sorted(path.relative_to(ROOT) for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def num_lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse((ROOT / path).read_text()) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_opens_by_saying_what_it_owns_and_stays_small(path: Path, trees: dict[Path, ast.Module]) -> None:
    text = (ROOT / path).read_text()
    assert not text.strip() or ast.get_docstring(trees[path]), "the file has no docstring"
    assert text.count("\n") <= MAX_FILE_LINES


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_function_is_short_and_takes_few_arguments(path: Path, trees: dict[Path, ast.Module]) -> None:
    for node in functions(trees[path]):
        num_arguments = len(node.args.posonlyargs) + len(node.args.args) + len(node.args.kwonlyargs)
        assert num_lines(node) <= MAX_FUNCTION_LINES, f"{path}:{node.lineno}: {node.name} has {num_lines(node)} lines"
        assert num_arguments <= MAX_ARGUMENTS, f"{path}:{node.lineno}: {node.name} takes {num_arguments} arguments"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_class_is_short(path: Path, trees: dict[Path, ast.Module]) -> None:
    for node in ast.walk(trees[path]):
        if isinstance(node, ast.ClassDef):
            assert num_lines(node) <= MAX_CLASS_LINES, f"{path}:{node.lineno}: {node.name} has {num_lines(node)} lines"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_exception_is_caught_without_being_named(path: Path, trees: dict[Path, ast.Module]) -> None:
    bare = [n.lineno for n in ast.walk(trees[path]) if isinstance(n, ast.ExceptHandler) and n.type is None]
    assert not bare, f"{path}: bare except on lines {bare}"


def test_a_name_says_what_lives_there() -> None:
    assert not [path for path in FILES if BANNED_NAMES & {*path.parts, path.stem}]


def test_an_init_file_holds_no_logic(trees: dict[Path, ast.Module]) -> None:
    """Docstrings, imports, constants of names (`__all__`): nothing that runs or decides."""
    allowed = ast.Expr | ast.Import | ast.ImportFrom | ast.Assign
    busy = {
        str(path): node.lineno
        for path, tree in trees.items()
        if path.name == "__init__.py"
        for node in tree.body
        if not isinstance(node, allowed)
    }
    assert not busy
