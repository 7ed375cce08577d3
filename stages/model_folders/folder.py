"""A model folder of somebody else, as a pinned source: its files by name, its settings read whole.

Owns which files are taken over and which are left out. Only files at the root of the source belong to the model. Code
and pickled weights are never opened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Final

from stages.contract import PinnedFile, PinnedSource, StageError
from stages.origins.files import open_file
from stages.surfaces.first_few import first_few

CONFIG_FILE: Final = "config.json"
INDEX_FILE: Final = "model.safetensors.index.json"
MAX_SETTINGS_BYTES: Final = 100_000_000
"""Largest file that is read whole, in bytes; the tokenizer of Qwen3 has 11 MB."""
_SETTINGS: Final = frozenset({".json", ".txt", ".jinja"})
_PAPERS: Final = re.compile(r"(?:licen[cs]e|notice|copying|usage[_-]policy|readme)\b.*", re.I)
"""Names of files that say on which terms a model may be used."""
_COMMIT: Final = re.compile(r"@([0-9a-f]{40})(?:/|$)")


@dataclass(frozen=True)
class ForeignFolder:
    """The files at the root of a pinned source."""

    source: PinnedSource

    @cached_property
    def files(self) -> Mapping[str, PinnedFile]:
        """The files of the model by name, in alphabetical order."""
        return {file.path: file for file in self.source.files if "/" not in file.path}

    @property
    def commit(self) -> str | None:
        """The commit of a repository, 40 hex digits; None for a source that is none."""
        found = _COMMIT.search(self.source.place)
        return found[1] if found else None

    def __str__(self) -> str:
        return f"source {self.source.name!r}"

    def open(self, name: str) -> BinaryIO:
        """One file as a stream with seeks. Raises `StageError` where it is not as it was pinned."""
        return open_file(self.source.place, self.files[name])

    def read(self, name: str) -> bytes:
        """The bytes of a settings file. Raises `StageError` where it is larger than settings are."""
        if self.files[name].size_bytes > MAX_SETTINGS_BYTES:
            raise StageError(
                f"{self}: {name} has {self.files[name].size_bytes:,} bytes; files of settings have at most "
                f"{MAX_SETTINGS_BYTES:,}"
            )
        with self.open(name) as opened:
            return opened.read()

    def read_json(self, name: str) -> dict[str, Any]:
        """A settings file that is a JSON object. Raises `StageError` where it is none."""
        try:
            content = json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise StageError(f"{self}: {name} is no JSON: {error}") from error
        if not isinstance(content, dict):
            raise StageError(f"{self}: {name} is no JSON object")
        return content

    def read_config(self) -> dict[str, Any]:
        """`config.json`. Raises `StageError` that says what the source has instead."""
        if CONFIG_FILE in self.files:
            return self.read_json(CONFIG_FILE)
        deeper = [file.path for file in self.source.files if PurePosixPath(file.path).name == CONFIG_FILE]
        if deeper:
            folder = deeper[0].removesuffix(f"/{CONFIG_FILE}")
            raise StageError(f"{self} has no {CONFIG_FILE} at its root, but one in {folder}/: name that folder")
        listed = first_few([file.path for file in self.source.files], 6)
        raise StageError(f"{self} has no {CONFIG_FILE}, so it is no model folder; its files are {listed}")

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of the files that are copied beside the weights: settings, tokenizer, licence, chat template."""
        return tuple(name for name, file in self.files.items() if _is_kept(name, file))


def _is_kept(name: str, file: PinnedFile) -> bool:
    if file.size_bytes > MAX_SETTINGS_BYTES:
        return False
    suffix = PurePosixPath(name).suffix.lower()
    is_paper = _PAPERS.fullmatch(name) is not None and suffix in ("", ".md", ".txt")
    return (suffix in _SETTINGS and not name.endswith(".index.json")) or is_paper or name == INDEX_FILE
