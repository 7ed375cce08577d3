"""The code beside exported weights, with which transformers loads them where this package is not installed.

Owns which modules of `neo_model` go along and under which names. transformers reads code from one folder without
folders in it, so `neo_model.inputs.batch` becomes `neo_inputs_batch.py`, and its imports of others are relative. What
is exported is thus the code that trained and was tested, and nothing else.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

PACKAGE: Final = "neo_model"
ENTRIES: Final = ("configuration_neo_chat", "modeling_neo_chat", "processing_neo_chat")
"""Modules of `neo_model.hub` that transformers asks for by name."""
AUTO_MAP: Final = {
    "AutoConfig": "configuration_neo_chat.NEOChatConfig",
    "AutoModel": "modeling_neo_chat.NEOChatModel",
    "AutoModelForCausalLM": "modeling_neo_chat.NEOChatModel",
    "AutoModelForImageTextToText": "modeling_neo_chat.NEOChatModel",
}
"""What `config.json` says about it."""
PROCESSOR_MAP: Final = {"AutoProcessor": "processing_neo_chat.NEOChatProcessor"}
TEMPLATE: Final = "neo1_0"
"""Name of the way to write conversations, as the released evaluation kits look it up."""


def remote_code() -> dict[str, bytes]:
    """File name to content of all modules that the entries need. The same sources give the same bytes."""
    needed = {entry: _needed(f"{PACKAGE}.hub.{entry}") for entry in ENTRIES}
    sources = {flat_name(module): source for one in needed.values() for module, source in one.items()}
    named = {name: _naming(needed[name]) if name in needed else "" for name in sources}
    return {f"{name}.py": (_relative(sources[name]) + named[name]).encode() for name in sorted(sources)}


def flat_name(module: str) -> str:
    """The name of a module in the folder.

    >>> flat_name("neo_model.inputs.batch"), flat_name("neo_model.hub.modeling_neo_chat")
    ('neo_inputs_batch', 'modeling_neo_chat')
    """
    _, *parts = module.split(".")
    return parts[-1] if parts[-1] in ENTRIES else "_".join(["neo", *parts])


def _needed(entry: str) -> dict[str, str]:
    """Source of each module that `entry` needs, its own included."""
    wanted, sources = [entry], dict[str, str]()
    while wanted:
        module = wanted.pop()
        if module not in sources:
            sources[module] = _path_of(module).read_text(encoding="utf-8")
            wanted += (imported for _, imported in _imports(sources[module]))
    return sources


def _naming(modules: Iterable[str]) -> str:
    """Lines that name modules and never run: transformers 4 takes along only what the first file names."""
    lines = [
        f"    from .{name} import *  # noqa: F403\n" for name in sorted(map(flat_name, modules)) if name not in ENTRIES
    ]
    return "".join(["\nif False:  # transformers 4 takes along only those files that this one names\n", *lines])


def _relative(source: str) -> str:
    """The source with `from .neo_x import y` for each `from neo_model.x import y`."""
    lines = source.splitlines(keepends=True)
    for number, module in _imports(source):
        lines[number - 1] = lines[number - 1].replace(f"from {module} import", f"from .{flat_name(module)} import")
    return "".join(lines)


def _imports(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of each module of the package that a source imports from, in functions as well."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE:
            yield node.lineno, node.module


def _path_of(module: str) -> Path:
    spec = find_spec(module)
    assert spec is not None and spec.origin is not None, f"{module} is a module of this package"
    return Path(spec.origin)
