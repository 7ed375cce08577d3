"""The digest of the code that decides what a user's stage makes: what enters its fingerprint beside its recipe.

The rule, in a sentence: the stage's function, and every top-level statement of the user's own modules that it refers to
by name, directly or through others, together with what those modules run for its effect when they are imported, without
comments, formatting and docstrings. Where code reaches other code without naming it (`globals()`, `exec`, `importlib`,
a module passed around as a value), all of that module counts, or of all modules that the stage's module imports.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from stages.user_code.files import UserFile, import_base, is_reserved, package_of
from stages.user_code.loading import installed
from stages.user_code.statements import Binding, Chain, ModuleCode, Statement

SKIPPED_FIELDS = frozenset({"ctx", "type_comment", "kind", "type_ignores"})
"""Fields of syntax nodes that say nothing about behaviour."""
HARMLESS_ATTRIBUTES = frozenset({"__name__", "__file__", "__doc__", "__all__", "__version__"})
"""Attributes of a module that lead to no code of it."""


@dataclass(frozen=True)
class StageCode:
    """The code of a user's stage."""

    module: str
    """Name of the module as the user writes it, such as `mine` or `lib.clean`: nothing of where the file lies."""
    file: str
    """Path of the stage's file, relative to the folder of the pipeline's file."""
    sha256: str
    """Digest of the code that decides what the stage makes, 64 hex digits."""

    @property
    def identity(self) -> dict[str, str]:
        """What takes part in the fingerprint."""
        return {"module": self.module, "sha256": self.sha256}


def code_of(function: Callable[..., Any]) -> StageCode | None:
    """The code of a stage of a user's own file, by its function; None for a shipped or an installed one."""
    file = installed(function.__module__)
    return None if file is None else _code(file.module, function.__module__, function.__qualname__)


@lru_cache(maxsize=1024)
def _code(root: str, module: str, function: str) -> StageCode:
    file = installed(root)
    assert file is not None
    name = module.partition(".")[2] or file.stem
    return StageCode(name, str(file.module_file(name)), code_digest(file, name, function))


def code_digest(file: UserFile, module: str, function: str) -> str:
    """sha256 of the code that `function` of a user's module depends on, 64 hex digits. Executes nothing."""
    return hashlib.sha256(json.dumps(_Walk(file).from_function(module, function)).encode()).hexdigest()


class _Walk:
    """Collects the statements that a function depends on."""

    def __init__(self, file: UserFile) -> None:
        self._file = file
        self._modules: dict[str, ModuleCode] = {}
        self._taken: dict[str, dict[Statement, None]] = {}
        self._imported: set[str] = set()
        self._looked_up: set[tuple[str, Chain]] = set()
        self._waiting: list[tuple[str, Statement]] = []

    def from_function(self, module: str, function: str) -> list[Any]:
        """What decides, as plain JSON: for each module its statements."""
        self._import(self._file.stem)  # executed wherever one of its modules is imported
        self._import(module)
        if function in self._module(module).by_name:
            self._take_name(module, (function,))
        else:  # made inside another function
            self._take_all(module)
        while self._waiting:
            self._follow(*self._waiting.pop())
        keeps_docstrings = any("__doc__" in text for text in self._file.texts.values())
        return [[name, *self._spelled(name, keeps_docstrings)] for name in sorted(self._taken) if self._taken[name]]

    def _spelled(self, module: str, keeps_docstrings: bool) -> tuple[list[str], list[str]]:
        """The taken statements: those whose place decides nothing, sorted, and the others in the module's order."""
        code, taken = self._module(module), self._taken[module]
        movable: list[str] = []
        ordered: list[str] = []
        for statement in code.statements:
            if statement in taken:
                is_alone = all(len(code.by_name[name]) == 1 for name in statement.binds)
                spelled = json.dumps(_form(statement.node, keeps_docstrings))
                (movable if statement.is_movable and is_alone else ordered).append(spelled)
        return sorted(movable), ordered

    def _module(self, module: str) -> ModuleCode:
        if module not in self._modules:
            path = self._file.module_file(module)
            text = "" if path is None else self._file.texts[path]
            self._modules[module] = ModuleCode(ast.parse(text), self._file.modules)
            self._taken[module] = {}
        return self._modules[module]

    def _import(self, module: str) -> None:
        """A module is executed: what it runs for its effect counts, and what it imports at the top is executed."""
        if module in self._imported:
            return
        self._imported.add(module)
        if "." in module:
            self._import(module.rpartition(".")[0])
        for statement in self._module(module).statements:
            if statement.is_effect:
                self._take(module, statement)
            if isinstance(statement.node, ast.Import | ast.ImportFrom):
                self._import_named(module, statement.node)

    def _import_named(self, module: str, node: ast.Import | ast.ImportFrom) -> None:
        for name in self._file.own_imports(node, self._package(module)):
            self._import(name)

    def _package(self, module: str) -> str:
        path = self._file.module_file(module)
        return module if path is None else package_of(path)

    def _take(self, module: str, statement: Statement) -> None:
        taken = self._taken[module]
        if statement not in taken:
            taken[statement] = None
            self._waiting.append((module, statement))

    def _take_all(self, module: str) -> None:
        """Take all of a module, and of the modules below it where it is a package."""
        below = [name for name in self._file.modules if name.startswith(f"{module}.")]
        for name in (module, *below):
            self._import(name)
            for statement in self._module(name).statements:
                if statement not in self._taken[name]:
                    self._take(name, statement)
                    for binding in statement.imports:
                        self._take_binding(name, binding, ())

    def _follow(self, module: str, statement: Statement) -> None:
        """Take what a statement depends on."""
        if statement.is_dynamic:
            for reachable in list(self._reachable(module)):
                self._take_all(reachable)
        for node in ast.walk(statement.node):
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._import_named(module, node)
        for star in statement.star_imports:
            base = import_base(star, self._package(module))
            if base and self._file.holds(base):
                self._take_all(base)
        for chain in statement.chains:
            for binding in statement.imports:  # inside a function
                if binding.name == chain[0]:
                    self._take_binding(module, binding, chain[1:])
            self._take_name(module, chain)

    def _take_name(self, module: str, chain: Chain) -> None:
        """Take what binds the first name of a chain; through an import, what it leads to."""
        for statement in self._module(module).by_name.get(chain[0], ()):
            self._take(module, statement)
            for binding in statement.imports:
                if binding.name == chain[0]:
                    self._take_binding(module, binding, chain[1:])

    def _take_binding(self, module: str, binding: Binding, rest: Chain) -> None:
        """Take what an imported name stands for, if it is the user's; `rest` are the attributes taken from it."""
        target = self._target(module, binding)
        if target is not None:
            self._take_from(target, (binding.attribute, *rest) if binding.attribute else rest)

    def _take_from(self, module: str, chain: Chain) -> None:
        """Take what `chain` names inside a module: all of the module where the chain ends, or its name is not found."""
        if not module:  # `from . import name`, beside the pipeline's file
            module, chain = (chain[0], chain[1:]) if chain[0] in self._file.modules else (self._file.stem, chain)
        self._import(module)
        if chain and chain[0] in self._module(module).by_name:
            if (module, chain) not in self._looked_up:
                self._looked_up.add((module, chain))
                self._take_name(module, chain)
        elif chain and self._file.holds(f"{module}.{chain[0]}"):
            self._take_from(f"{module}.{chain[0]}", chain[1:])
        elif not chain or chain[0] not in HARMLESS_ATTRIBUTES:
            self._take_all(module)

    def _target(self, module: str, binding: Binding) -> str | None:
        """The user's module that a binding takes from, '' for the folder; None where it is not the user's."""
        if binding.level:
            node = ast.ImportFrom(binding.module or None, [], binding.level)
            base = import_base(node, self._package(module))
            return base if base == "" or (base is not None and self._file.holds(base)) else None
        return None if is_reserved(binding.module) or not self._file.holds(binding.module) else binding.module

    def _reachable(self, module: str) -> Iterator[str]:
        """A module and all that it may import, at any depth."""
        seen, waiting = {module}, [module]
        while waiting:
            current = waiting.pop()
            yield current
            for node in ast.walk(self._module(current).tree):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    found = set(self._file.own_imports(node, self._package(current)))
                    waiting += sorted(found - seen)
                    seen |= found


def _form(node: Any, keeps_docstrings: bool) -> Any:
    """A syntax node as plain JSON that is the same in every release of Python: fields without a value are left out."""
    if isinstance(node, list):
        return [_form(item, keeps_docstrings) for item in node if keeps_docstrings or not _is_docstring(item)]
    if not isinstance(node, ast.AST):
        return [type(node).__name__, repr(node)]
    fields = {name: getattr(node, name, None) for name in node._fields if name not in SKIPPED_FIELDS}
    given = {name: _form(value, keeps_docstrings) for name, value in fields.items() if value is not None}
    return {"node": type(node).__name__, **{name: value for name, value in given.items() if value != []}}


def _is_docstring(node: Any) -> bool:
    """Whether a statement is a bare text: a docstring, or the line under a field that explains it."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
