"""Writes a small working project: files that lie in this package, and data and models that are made for it.

Owns which templates there are and what each consists of. A project is written beside its place and then renamed, so
that a half-written one is never there.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipelines.templates.materials import (
    all_texts,
    write_chat,
    write_documents,
    write_pairs,
    write_pictures,
)
from pipelines.templates.tiny_models import write_tiny_checkpoint, write_tiny_llm

FILES: Final = Path(__file__).with_name("files")
"""The files that are copied, a folder for each template."""


@dataclass(frozen=True)
class Template:
    """What a project is for, and what is made for it besides its files."""

    about: str
    """One line about it."""
    parts: tuple[str, ...]
    """Names of `PARTS`."""
    names: tuple[str, ...]
    """Functions of its pipeline.py that are pipelines, the one to begin with first."""


PARTS: Final[Mapping[str, Callable[[Path], None]]] = {
    "pairs": lambda data: write_pairs(data / "pairs"),
    "pictures": lambda data: write_pictures(data / "pictures"),
    "chat": lambda data: write_chat(data / "chat.json"),
    "text": lambda data: write_documents(data / "text.jsonl"),
    "llm": lambda data: write_tiny_llm(data / "tiny-qwen3", all_texts()),
    "checkpoint": lambda data: write_tiny_checkpoint(data / "tiny-neo", all_texts()),
}
"""What can be made for a project, by name: each writes into its folder `data/`."""

TEMPLATES: Final[Mapping[str, Template]] = {
    "pairs": Template("pictures with captions to packed rows and a pre-Buffer", ("pairs", "llm"), ("pairs",)),
    "conversations": Template("a chat JSON with its pictures to packed rows", ("pictures", "chat", "llm"), ("rows",)),
    "tune": Template(
        "a released checkpoint tuned on a chat JSON, and evaluated", ("pictures", "chat", "checkpoint"), ("tune",)
    ),
    "full": Template(
        "the paper's order: pre-Buffer, merge, mid-training, chat, evaluation",
        ("pairs", "pictures", "chat", "text", "llm"),
        ("full",),
    ),
}
"""Templates by name, as `neo init --template` takes them."""


def write_project(folder: Path, name: str) -> list[str]:
    """Write the project of the template `name` into a new folder; the paths of its own files, relative to it.

    Raises `FileExistsError` if something is there already, and `OSError` where it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is there already")
    draft = folder.with_name(f".{folder.name}.draft")
    if draft.exists():
        shutil.rmtree(draft)
    try:
        shutil.copytree(FILES / name, draft, ignore=shutil.ignore_patterns("__pycache__"))
        written = sorted(path.name for path in draft.iterdir())
        (draft / "data").mkdir()
        for part in TEMPLATES[name].parts:
            PARTS[part](draft / "data")
        if folder.exists():
            folder.rmdir()
        draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return written
