"""`sources.toml`, which people write, and `sources.lock`, which `neo pin` writes.

A table of `sources.toml` says where the files of a source lie: one file, a folder, a pattern, or several.

    [laion400m_en]
    uri = "s3://lake/laion400m/en/*.parquet"

    [my_chat]
    uri = ["chat/train.json", "chat/more.jsonl"]        # relative to sources.toml

`sources.lock` lists each file with its size and sha256. It belongs into version control, like any lock file.
"""

from __future__ import annotations

import json
import tomllib
import uuid
from collections.abc import Mapping
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated, Any

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pipelines.exits import BadCommandError
from stages.artifacts.fingerprint import digest
from stages.contract import Source
from stages.origins.pinning import Pin

DEFINITIONS = "sources.toml"
LOCK = "sources.lock"
LOCK_VERSION = 1


class SourceEntry(BaseModel):
    """One table of `sources.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    """Files, folders or patterns, all in one place."""

    @field_validator("uri", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


def read_lock(folder: Path) -> dict[str, Pin]:
    """The pins in a folder's `sources.lock`, by name; none if there is no such file. Raises `BadCommandError`."""
    path = folder / LOCK
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["version"] != LOCK_VERSION:
            raise BadCommandError(
                f"{path} has version {document['version']!r}, this release reads {LOCK_VERSION}", then="neo pin --help"
            )
        return {name: _pin_of(pin) for name, pin in document["sources"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadCommandError(
            f"{path} cannot be read ({_first_line(error)}); restore it from version control, or pin again without it",
            then="neo pin --help",
        ) from error


def keep_in_lock(folder: Path, name: str, pin: Pin) -> None:
    """Put one pin into a folder's `sources.lock`. Two commands at once lose none of each other's."""
    with FileLock(Path(gettempdir()) / f"neo-{digest(str(folder.resolve()))[:16]}.lock"):
        before = read_lock(folder)
        if before.get(name) != pin:
            write_lock(folder, {**before, name: pin})


def write_lock(folder: Path, pins: Mapping[str, Pin]) -> None:
    """Write `sources.lock` as a whole: sorted by name, one line for each file, so that a diff shows what changed."""
    sources = ",\n".join(f"  {json.dumps(name)}: {_spelled(pins[name])}" for name in sorted(pins))
    text = f'{{\n "version": {LOCK_VERSION},\n "sources": {{\n{sources}\n }}\n}}\n'
    draft = folder / f".{LOCK}-{uuid.uuid4().hex[:8]}"
    draft.write_text(text, encoding="utf-8")
    draft.replace(folder / LOCK)


def _pin_of(written: dict[str, Any]) -> Pin:
    pin = Pin.model_validate({name: value for name, value in written.items() if name != "digest"})
    if pin.digest != written["digest"]:
        raise ValueError(f"its files do not give the digest {written['digest']}: it was edited, or merged wrongly")
    return pin


def _spelled(pin: Pin) -> str:
    facts = pin.model_dump(mode="json", exclude={"files"}, exclude_defaults=True)
    head = [f'   "digest": "{pin.digest}"', *(f'   "{name}": {_plain(value)}' for name, value in facts.items())]
    files = ",\n".join(f"    {_plain(file.model_dump(exclude_defaults=True))}" for file in pin.files)
    return '{{\n{},\n   "files": [\n{}\n   ]\n  }}'.format(",\n".join(head), files)


def _plain(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def read_entries(folder: Path) -> dict[str, SourceEntry]:
    """The tables of a folder's `sources.toml`, by name; none if there is no such file. Raises `BadCommandError`."""
    path = folder / DEFINITIONS
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadCommandError(f"{path}: {_first_line(error)}", then="neo pin --help") from error
    entries: dict[str, SourceEntry] = {}
    for name, table in tables.items():
        try:
            Source(name)
            entries[name] = SourceEntry.model_validate(table if isinstance(table, dict) else {"uri": table})
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in fault["loc"])
            raise BadCommandError(
                f'{path}: [{name}] {where}: {fault["msg"]}; a source is a table with uri = "..." or a list of them',
                then="neo pin --help",
            ) from error
    return entries


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
