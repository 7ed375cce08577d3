"""A user's pipeline file and the modules of the user's own beside it, as texts that travel and are kept.

Owns which imports of a user's file lead to another file of the user: one beside it, or in a package beside it. Names of
our packages and of the standard library never do, whatever lies beside the file.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

USER_FILE_PREFIX = "neo_user_file_"
"""Modules loaded from a user's own pipeline file have names that begin so."""
OUR_PACKAGES = frozenset({"neo_model", "stages", "cluster", "pipelines"})
"""Import packages that are always ours: a user's `cluster.py` or `stages/` beside a file changes nothing."""


@dataclass(frozen=True)
class UserFile:
    """A user's own pipeline file, and the modules beside it that it imports. A plan keeps the texts of all."""

    path: str
    """Absolute path of the file when it was read, for messages."""
    module: str
    """Name under which the file is imported; it holds the beginning of `digest`."""
    sha256: str
    """Digest of `source`, in hex."""
    source: str
    """The text of the file."""
    beside: Mapping[str, str] = field(default_factory=dict)
    """Path relative to the file's folder, such as `lib/clean.py`, to the text of each module that it imports."""

    @property
    def name(self) -> str:
        """Name of the file, such as `mine.py`."""
        return Path(self.path).name

    @property
    def stem(self) -> str:
        """Name under which the modules beside the file know it, such as `mine`."""
        return Path(self.path).stem

    @cached_property
    def texts(self) -> dict[str, str]:
        """The text of every file, by its path relative to the folder, in alphabetical order."""
        return dict(sorted({**self.beside, self.name: self.source}.items()))

    @cached_property
    def digest(self) -> str:
        """sha256 of all texts, 64 hex digits: of the file itself, or of the listing that `sha256sum` prints of several.

        It changes with every edit, comments included. What decides a fingerprint is `StageCode.sha256`.
        """
        digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in self.texts.items()}
        listing = "".join(f"{sha256}  {name}\n" for name, sha256 in digests.items())
        return hashlib.sha256(listing.encode()).hexdigest() if self.beside else self.sha256

    def module_file(self, module: str) -> str | None:
        """The file of a module of the user's, by its dotted name: `lib.clean` is `lib/clean.py`. None if it is none."""
        if module == self.stem:
            return self.name
        return next((path for path in _candidates(module) if path in self.texts), None)

    @cached_property
    def modules(self) -> frozenset[str]:
        """Dotted names of the modules and packages of the user's, the file itself among them."""
        paths = [path.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".") for path in self.beside]
        return frozenset([self.stem, *(prefix for path in paths for prefix in _prefixes(path))])

    def own_imports(self, node: ast.Import | ast.ImportFrom, package: str) -> list[str]:
        """The modules of the user's that an import statement of a module in `package` may load."""
        is_relative = isinstance(node, ast.ImportFrom) and node.level > 0
        names = imported_names(node, package)
        return [name for name in names if name in self.modules and (is_relative or not is_reserved(name))]

    def holds(self, module: str) -> bool:
        """Whether a dotted name is a module or a package of the user's."""
        return module in self.modules


def read_user_file(path: Path) -> UserFile:
    """A user's file as it is now, with the modules beside it that it imports, directly or through one another.

    An edited file, or an edited module beside it, gives another module name, since that holds the digest of the texts.
    """
    source = path.read_text(encoding="utf-8")
    folder, resolved = path.resolve().parent, str(path.resolve())
    sha256 = hashlib.sha256(source.encode()).hexdigest()
    found = UserFile(resolved, "", sha256, source, _modules_beside(folder, path.resolve().name, source))
    stem = re.sub(r"\W+", "_", path.stem)
    return UserFile(resolved, f"{USER_FILE_PREFIX}{stem}_{found.digest[:12]}", sha256, source, found.beside)


def imported_names(node: ast.Import | ast.ImportFrom, package: str) -> list[str]:
    """Every dotted name that an import statement of a module in `package` may load.

    `import a.b` gives a and a.b; `from a import c` gives a and a.c; `from . import c` in package `lib` gives lib.c.
    """
    if isinstance(node, ast.Import):
        return [prefix for alias in node.names for prefix in _prefixes(alias.name)]
    base = import_base(node, package)
    names = [f"{base}.{alias.name}" if base else alias.name for alias in node.names if alias.name != "*"]
    return [*_prefixes(base), *names] if base is not None else []


def import_base(node: ast.ImportFrom, package: str) -> str | None:
    """The module that `from ... import` takes names from; '' is the folder of the file, None lies outside of it."""
    if node.level == 0:
        return node.module or ""
    parts = package.split(".") if package else []
    if node.level - 1 > len(parts):
        return None
    return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])


def package_of(path: str) -> str:
    """The dotted package of a file by its path: `lib` for `lib/clean.py` and for `lib/__init__.py`, '' beside it."""
    return path.rpartition("/")[0].replace("/", ".")


def is_reserved(module: str) -> bool:
    """Whether a name can never be a module of the user's: our packages, and the standard library."""
    first = module.partition(".")[0]
    return first in OUR_PACKAGES or first in sys.stdlib_module_names


def _modules_beside(folder: Path, main: str, source: str) -> dict[str, str]:
    """Relative path to text of each module that the file `main` needs. One that does not parse imports nothing."""
    texts: dict[str, str] = {}
    waiting = [(main, source)]
    while waiting:
        path, text = waiting.pop()
        for module in _wanted(text, package_of(path)):
            for found in _files_of(module, lambda name: (folder / name).is_file()):
                if found not in texts and found != main:
                    texts[found] = (folder / found).read_text(encoding="utf-8")
                    waiting.append((found, texts[found]))
    return dict(sorted(texts.items()))


def _wanted(text: str, package: str) -> Iterator[str]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            is_relative = isinstance(node, ast.ImportFrom) and node.level > 0
            yield from (name for name in imported_names(node, package) if is_relative or not is_reserved(name))


def _files_of(module: str, is_file: Callable[[str], bool]) -> list[str]:
    """The file of a module and of the packages above it; none where there is no such file."""
    own = next((path for path in _candidates(module) if is_file(path)), None)
    above = [f"{prefix.replace('.', '/')}/__init__.py" for prefix in _prefixes(module)[:-1]]
    return [*(path for path in above if is_file(path)), own] if own else []


def _candidates(module: str) -> tuple[str, str]:
    path = module.replace(".", "/")
    return f"{path}/__init__.py", f"{path}.py"


def _prefixes(module: str | None) -> list[str]:
    """`a`, `a.b` and `a.b.c` of `a.b.c`; nothing of ''."""
    parts = module.split(".") if module else []
    return [".".join(parts[: count + 1]) for count in range(len(parts))]
