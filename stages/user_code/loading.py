"""A user's file as modules of this process, and objects that travel to another process together with its code.

Owns the import hook. A user's file is a package of its own name (`neo_user_file_mine_1a2b3c4d5e6f`), the modules beside
it are modules of that package, and `import helpers` in them is compiled to an import from there. So two versions of a
file live beside one another, nothing is put on the import path, and a process that has the texts can import them.
"""

from __future__ import annotations

import ast
import importlib
import pickle
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from stages.user_code.files import UserFile, import_base, is_reserved, package_of

Spec: TypeAlias = "ModuleSpec | None"

_INSTALLED: dict[str, UserFile] = {}
"""Files whose modules this process can import, by module name."""


class _UserCodeLoader(MetaPathFinder, Loader):
    """Finds and loads the modules of the files that were installed."""

    def find_spec(self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> Spec:
        root, _, inner = fullname.partition(".")
        file = _INSTALLED.get(root)
        if file is None or not (inner == "" or file.holds(inner)):
            return None
        found = _path_in(file, inner)
        is_package = inner == "" or found is None or found.endswith("/__init__.py")
        spec = ModuleSpec(fullname, self, origin=_origin(file, found), is_package=is_package)
        spec.has_location = found is not None
        return spec

    def exec_module(self, module: ModuleType) -> None:
        root, _, inner = module.__name__.partition(".")
        file = _INSTALLED[root]
        found = _path_in(file, inner)
        if found is None:  # a folder without an `__init__.py`
            return
        origin = _origin(file, found)
        tree = _Redirected(file, package_of(found)).visit(ast.parse(file.texts[found], origin))
        exec(compile(ast.fix_missing_locations(tree), origin, "exec"), module.__dict__)

    def get_source(self, fullname: str) -> str | None:
        """The text of a module, which tracebacks show where the file itself is not there."""
        root, _, inner = fullname.partition(".")
        found = _path_in(_INSTALLED[root], inner)
        return None if found is None else _INSTALLED[root].texts[found]


class _Redirected(ast.NodeTransformer):
    """Imports of the user's modules, as imports from the package that they are loaded into."""

    def __init__(self, file: UserFile, package: str) -> None:
        self._file, self._package = file, package

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        statements: list[ast.stmt] = []
        for alias in node.names:
            target = self._target(alias.name)
            if target is None:
                statements.append(ast.Import([alias]))
            elif alias.asname or "." not in alias.name:
                statements.append(ast.Import([ast.alias(target, alias.asname or alias.name)]))
            else:  # `import lib.clean` binds `lib`
                package = ast.alias(alias.name.partition(".")[0])
                statements += [ast.Import([ast.alias(target)]), ast.ImportFrom(self._file.module, [package], 0)]
        return [ast.copy_location(statement, node) for statement in statements]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        base = import_base(node, self._package)
        target = self._target(base, is_relative=node.level > 0) if base else None
        return node if target is None else ast.copy_location(ast.ImportFrom(target, node.names, 0), node)

    def _target(self, module: str, *, is_relative: bool = False) -> str | None:
        """The whole name of a user's module; None for any other."""
        if (is_reserved(module) and not is_relative) or not self._file.holds(module):
            return None
        return self._file.module if module == self._file.stem else f"{self._file.module}.{module}"


class Carried:
    """A callable that travels together with the user's code, also through a process that only hands it on."""

    def __init__(self, file: UserFile, function: Callable[..., Any], dumps: Callable[[Any], bytes]) -> None:
        self._file, self._function, self._dumps = file, function, dumps

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self._file, self._dumps(self._function), self._dumps)


def carried(
    file: UserFile | None, function: Callable[..., Any], dumps: Callable[[Any], bytes] = pickle.dumps
) -> Callable[..., Any]:
    """`function`, such that it can be unpickled by a process that has never seen the user's file."""
    return function if file is None else Carried(file, function, dumps)


def _arrived(file: UserFile, data: bytes, dumps: Callable[[Any], bytes]) -> Carried:
    return Carried(file, load_carried(file, data), dumps)


def load_carried(file: UserFile, data: bytes) -> Any:
    """Unpickle `data`, which refers to modules of a user's file."""
    install(file)
    return pickle.loads(data)  # noqa: S301  # what another process of the same run has pickled


def install(file: UserFile) -> None:
    """Let this process import the modules of a user's file. Executes nothing."""
    _INSTALLED[file.module] = file
    if not any(isinstance(finder, _UserCodeLoader) for finder in sys.meta_path):
        sys.meta_path.append(_UserCodeLoader())


def installed(module: str) -> UserFile | None:
    """The file that a module, by its whole name, belongs to; None for a module of another origin."""
    return _INSTALLED.get(module.partition(".")[0])


def load_user_file(file: UserFile) -> ModuleType:
    """The module of a user's file, executed from its recorded text. Raises what the file raises."""
    install(file)
    return importlib.import_module(file.module)


def _path_in(file: UserFile, inner: str) -> str | None:
    return file.name if inner == "" else file.module_file(inner)


def _origin(file: UserFile, path: str | None) -> str:
    return file.path if path in (None, file.name) else str(Path(file.path).parent / str(path))
