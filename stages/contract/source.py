"""Sources: what comes in from outside, by name, with the digest that identifies its content.

A recipe names a source; `sources.toml` beside the pipeline says where its files lie; `neo pin` digests them once. Only
the name and the digest are part of a recipe, and so of a fingerprint: the same files in another place are the same
source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from stages.artifacts.fingerprint import digest
from stages.contract.recipe import Recipe, conduct

SOURCE_NAME_PATTERN = r"^[0-9A-Za-z_][0-9A-Za-z_.-]{0,99}$"


class Source(Recipe):
    """A named input from outside, such as `Source("laion400m_en", num_rows=100_000_000)`."""

    name: str = Field(pattern=SOURCE_NAME_PATTERN)
    """Name of the table in `sources.toml` that says where the files lie. Sample ids are hashed with it."""
    num_rows: int | None = conduct(None, ge=0)
    """Rows that the source is said to have, for estimates; None where nobody has counted them. Not identity."""
    digest: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Digest of the files, 64 hex digits. Planning fills it in from `sources.lock`; None means not pinned."""

    def __init__(self, /, name: str | None = None, **fields: Any) -> None:
        # Called with what was typed for a source as well, in which there may be no name, or any other one.
        super().__init__(**fields if name is None else {"name": name, **fields})


class PinnedFile(BaseModel):
    """One file of a source, as it was when the source was pinned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    """Path relative to the place of the source, with `/` between folders."""
    size_bytes: int
    sha256: str
    """Digest of the file's bytes, in hex."""
    num_rows: int | None = None
    """Rows of a Parquet file, or lines of a plain JSONL file; None for other files."""
    etag: str = ""
    """Entity tag that an object store or a web server gave the file; '' where there is none."""


class SourcePlace(BaseModel):
    """Where a pinned source lies, and where the list of its files is kept in the store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    place: str
    """Folder or URL below which the files lie, on the machines that read them."""
    key: str
    """Key of the list, such as `sources/<digest>.json`."""


class PinnedSource(BaseModel):
    """A source whose files are known: what a stage reads from. Pickles."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    place: str
    """Folder or URL below which the files lie, on the machines that read them."""
    files: tuple[PinnedFile, ...]
    """The files, sorted by path."""

    @property
    def size_bytes(self) -> int:
        """Size of all files, in bytes."""
        return sum(file.size_bytes for file in self.files)


def digest_of(files: Sequence[PinnedFile]) -> str:
    """The digest of a source's content: of the paths and sha256 of its files, wherever they lie. 64 hex digits."""
    return digest({file.path: file.sha256 for file in files}, "files")


def sources_in(value: object) -> Iterator[Source]:
    """Every source in a recipe, at any depth."""
    if isinstance(value, Source):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from sources_in(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from sources_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from sources_in(item)


def with_sources(value: Any, change: Callable[[Source], Source]) -> Any:
    """A copy of a recipe, or of a value inside one, in which every source is replaced by `change(source)`."""
    if isinstance(value, Source):
        return change(value)
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        changed = {name: with_sources(item, change) for name, item in fields.items()}
        different = {name: item for name, item in changed.items() if item is not fields[name]}
        return value.model_copy(update=different) if different else value
    if isinstance(value, Mapping):
        entries = {key: with_sources(item, change) for key, item in value.items()}
        return entries if any(entries[key] is not value[key] for key in value) else value
    if isinstance(value, list | tuple):
        items = [with_sources(item, change) for item in value]
        is_changed = any(new is not old for new, old in zip(items, value, strict=True))
        return type(value)(items) if is_changed else value
    return value
