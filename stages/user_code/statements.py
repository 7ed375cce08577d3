"""The top-level statements of a user's module: what each binds, what it refers to, and whether it runs for its effect.

Reads syntax trees and executes nothing. What it cannot tell, it counts as an effect: that makes a digest change too
often, never too seldom.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

DYNAMIC_NAMES = frozenset({"globals", "eval", "exec", "__import__", "import_module", "importlib"})
"""Names with which code reaches other code without naming it."""
DYNAMIC_ATTRIBUTES = frozenset({"import_module", "__globals__", "__subclasses__", "f_globals", "__builtins__"})
"""Attributes with which code reaches other code without naming it."""
HARMLESS_DECORATORS = frozenset(
    {
        *("stages.contract.stage", "dataclasses.dataclass", "contextlib.contextmanager", "abc.abstractmethod"),
        *(f"functools.{name}" for name in ("cache", "lru_cache", "cached_property", "wraps", "total_ordering")),
        *("typing.final", "typing.overload", "typing.override", "typing.runtime_checkable", "enum.unique"),
        *(f"pydantic.{name}" for name in ("field_validator", "model_validator", "computed_field", "field_serializer")),
        *("staticmethod", "classmethod", "property", "torch.no_grad", "torch.inference_mode"),
    }
)
"""Decorators that register nothing: what they decorate counts where it is referred to."""
HARMLESS_BASES = frozenset(
    {
        *(f"stages.contract.{name}" for name in ("Recipe", "PartTask", "PartFacts")),
        *("stages.artifacts.artifact.Artifact", "stages.formats.sample_table.ItemReason", "pydantic.BaseModel"),
        *(f"enum.{name}" for name in ("Enum", "IntEnum", "StrEnum", "Flag")),
        *(f"typing.{name}" for name in ("NamedTuple", "TypedDict", "Protocol", "Generic")),
        *("abc.ABC", "torch.nn.Module", "object", "dict", "list", "str", "int", "tuple"),
        *(name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)),
    }
)
"""Base classes that keep no list of the classes made from them."""

CLASS_HOOKS = frozenset({"__init_subclass__", "__set_name__", "__class_getitem__"})
"""Methods that run when a class is made from another."""

Chain = tuple[str, ...]
"""A dotted reference: `("helpers", "clean")` for `helpers.clean`, `("clean",)` for a bare name."""


@dataclass(frozen=True)
class Binding:
    """A name that an import binds."""

    name: str
    module: str
    """The module named in the statement, without the dots of a relative import."""
    attribute: str = ""
    """The name taken from the module; '' where the module itself is bound."""
    level: int = 0
    """Number of dots of a relative import; 0 for an absolute one."""

    @property
    def dotted(self) -> str:
        """What is bound, such as `stages.contract.stage`."""
        return ".".join(part for part in (self.module, self.attribute) if part)


@dataclass(eq=False)
class Statement:
    """One top-level statement; an import of several names is several statements."""

    node: ast.stmt
    binds: frozenset[str]
    """Names that it binds in its module."""
    chains: frozenset[Chain]
    """Names that it refers to, with the attributes taken from each."""
    imports: tuple[Binding, ...]
    """Names bound by imports, its own or those inside of it."""
    star_imports: tuple[ast.ImportFrom, ...]
    """Imports of all names of a module, its own or those inside of it."""
    is_effect: bool = False
    """Whether it runs for its effect: it counts whenever its module is imported."""

    @property
    def is_import(self) -> bool:
        """Whether it is an import."""
        return isinstance(self.node, ast.Import | ast.ImportFrom)

    @property
    def is_dynamic(self) -> bool:
        """Whether it may reach code that it does not name."""
        names = {chain[0] for chain in self.chains} | {b.module.partition(".")[0] for b in self.imports if not b.level}
        attributes = {attribute for chain in self.chains for attribute in chain[1:]}
        reaches_modules = any(chain[:2] == ("sys", "modules") for chain in self.chains)
        takes_modules = any(binding.dotted == "sys.modules" for binding in self.imports)
        return bool(names & DYNAMIC_NAMES or attributes & DYNAMIC_ATTRIBUTES or reaches_modules or takes_modules)

    @property
    def is_movable(self) -> bool:
        """Whether its place in the module decides nothing: an import, or a function whose defaults are plain."""
        if isinstance(self.node, ast.FunctionDef | ast.AsyncFunctionDef):
            defaults = [*self.node.args.defaults, *(one for one in self.node.args.kw_defaults if one is not None)]
            return not self.is_effect and all(isinstance(default, ast.Constant) for default in defaults)
        return self.is_import and not self.star_imports


@dataclass
class ModuleCode:
    """The statements of one module."""

    tree: ast.Module
    own_modules: frozenset[str]
    """Dotted names of the user's modules: a call of what they define may change anything."""
    statements: list[Statement] = field(init=False)

    def __post_init__(self) -> None:
        self.statements = [_statement(node) for node in _split(self.tree.body)]
        for statement in self.statements:
            statement.is_effect = self._is_effect(statement.node)

    @cached_property
    def by_name(self) -> dict[str, list[Statement]]:
        """The statements that bind each name, in order."""
        bound: dict[str, list[Statement]] = {}
        for statement in self.statements:
            for name in statement.binds:
                bound.setdefault(name, []).append(statement)
        return bound

    def _is_effect(self, node: ast.stmt) -> bool:
        match node:
            case ast.Import():
                return False
            case ast.ImportFrom():
                return node.module == "__future__" or any(alias.name == "*" for alias in node.names)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                defaults = [*node.args.defaults, *node.args.kw_defaults]
                return not self._are_harmless(node.decorator_list) or any(map(self._calls_own_code, defaults))
            case ast.ClassDef():
                return not self._is_plain_class(node)
            case ast.Assign() | ast.AnnAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                return not all(map(_is_name, targets)) or self._calls_own_code(node.value)
            case _:
                return True

    def _is_plain_class(self, node: ast.ClassDef) -> bool:
        """Whether making the class registers nothing anywhere, and nobody can list the classes made from its bases."""
        bases_are_plain = all(self._is_plain_base(base) for base in node.bases)
        has_metaclass = any(keyword.arg in (None, "metaclass") for keyword in node.keywords)
        return (
            bases_are_plain
            and not has_metaclass
            and self._are_harmless(node.decorator_list)
            and all(self._is_plain_member(member) for member in node.body)
        )

    def _is_plain_base(self, base: ast.expr) -> bool:
        if isinstance(base, ast.Subscript):  # Generic[T]
            return self._is_plain_base(base.value)
        own = self._own_class(base)
        return self._is_plain_class(own) if own is not None else self._meaning(base) in HARMLESS_BASES

    def _own_class(self, base: ast.expr) -> ast.ClassDef | None:
        defined = self.by_name.get(base.id, []) if isinstance(base, ast.Name) else []
        nodes = [statement.node for statement in defined]
        is_class = len(nodes) == 1 and isinstance(nodes[0], ast.ClassDef) and nodes[0].lineno < base.lineno
        return nodes[0] if is_class and isinstance(nodes[0], ast.ClassDef) else None

    def _is_plain_member(self, member: ast.stmt) -> bool:
        if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
            return member.name not in CLASS_HOOKS and not self._is_effect(member)
        is_docstring = isinstance(member, ast.Expr) and isinstance(member.value, ast.Constant)
        return isinstance(member, ast.Pass) or is_docstring or not self._is_effect(member)

    def _are_harmless(self, decorators: list[ast.expr]) -> bool:
        called = [one.func if isinstance(one, ast.Call) else one for one in decorators]
        return all(
            self._meaning(one) in HARMLESS_DECORATORS or (isinstance(one, ast.Attribute) and one.attr == "setter")
            for one in called
        )

    def _meaning(self, node: ast.expr) -> str:
        """What a dotted expression names, by its import: `functools.cache`; '' if the module defines it itself."""
        chain = _chain(node)
        if chain is None:
            return ""
        bound = self.by_name.get(chain[0])
        if bound is None:
            return ".".join(chain)
        if len(bound) > 1 or not bound[0].is_import:
            return ""
        (binding,) = bound[0].imports
        name = ".".join([binding.dotted, *chain[1:]])
        return name.replace("stages.contract.binding.", "stages.contract.").replace("contract.recipe.", "contract.")

    def _calls_own_code(self, value: ast.expr | None) -> bool:
        """Whether an expression calls something of the user's, or hands it to a call: that may change anything."""
        calls = [] if value is None else [node for node in ast.walk(value) if isinstance(node, ast.Call)]
        handed = [argument for call in calls for argument in _arguments(call)]
        return not all(self._is_outside(call.func) for call in calls) or any(map(self._names_own_code, handed))

    def _is_outside(self, callee: ast.expr) -> bool:
        """Whether a call is of a builtin, of a method of a constant, or of what an absolute import brought."""
        while isinstance(callee, ast.Attribute | ast.Call):
            callee = callee.value if isinstance(callee, ast.Attribute) else callee.func
        if not isinstance(callee, ast.Name):
            return isinstance(callee, ast.Constant)
        bound = self.by_name.get(callee.id, [])
        imports = [binding for statement in bound for binding in statement.imports]
        own = any(binding.level or binding.module in self.own_modules for binding in imports)
        return all(statement.is_import for statement in bound) and not own

    def _names_own_code(self, argument: ast.expr) -> bool:
        names = {node.id for node in ast.walk(argument) if isinstance(node, ast.Name)}
        own = [statement.node for name in names for statement in self.by_name.get(name, [])]
        return any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in own)


def bindings_of(node: ast.Import | ast.ImportFrom) -> list[Binding]:
    """The names that an import binds."""
    if isinstance(node, ast.ImportFrom):
        module, level = node.module or "", node.level
        return [Binding(one.asname or one.name, module, one.name, level) for one in node.names if one.name != "*"]
    first = [one.name.partition(".")[0] for one in node.names]  # `import a.b` binds a
    return [Binding(one.asname or a, one.name if one.asname else a) for one, a in zip(node.names, first, strict=True)]


def _split(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module that can decide anything, with one name in each import."""
    for node in body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_docstring or isinstance(node, ast.Pass) or _is_main_guard(node):
            continue
        if isinstance(node, ast.Import):
            yield from (ast.Import([alias]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (ast.ImportFrom(node.module, [alias], node.level) for alias in node.names)
        else:
            yield node


def _statement(node: ast.stmt) -> Statement:
    inside = [one for one in ast.walk(node) if isinstance(one, ast.Import | ast.ImportFrom)]
    imports = tuple(binding for one in inside for binding in bindings_of(one))
    stars = tuple(
        one for one in inside if isinstance(one, ast.ImportFrom) and any(alias.name == "*" for alias in one.names)
    )
    return Statement(node, frozenset(_bound(node)), frozenset(_chains(node)), imports, stars)


def _bound(node: ast.stmt) -> Iterator[str]:
    """The names that a statement binds in its module, at any depth outside of functions and classes."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        return
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from (binding.name for binding in bindings_of(node))
        return
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            yield inner.id
        elif isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield inner.name
        elif isinstance(inner, ast.Import | ast.ImportFrom):
            yield from (binding.name for binding in bindings_of(inner))


def _chains(node: ast.AST, *, is_annotation: bool = False) -> Iterator[Chain]:
    """The dotted references in a statement, those in annotations that are written as texts among them."""
    if isinstance(node, ast.Attribute | ast.Name) and (chain := _chain(node)) is not None:
        yield chain
        return
    if isinstance(node, ast.Global | ast.Nonlocal):
        yield from ((name,) for name in node.names)
    if is_annotation and isinstance(node, ast.Constant) and isinstance(node.value, str):
        with suppress(SyntaxError, ValueError):
            yield from _chains(ast.parse(node.value.strip(), mode="eval"), is_annotation=True)
    for name, value in ast.iter_fields(node):
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, ast.AST):
                yield from _chains(inner, is_annotation=is_annotation or name in ("annotation", "returns"))


def _chain(node: ast.expr) -> Chain | None:
    """`a.b.c` as a tuple; None for what does not begin with a name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return (node.id, *reversed(parts)) if isinstance(node, ast.Name) else None


def _arguments(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]


def _is_name(target: ast.expr) -> bool:
    inner = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
    return all(isinstance(one, ast.Name) for one in inner)


def _is_main_guard(node: ast.stmt) -> bool:
    """`if __name__ == "__main__":`, which never holds in a pipeline file."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'" and not node.orelse
