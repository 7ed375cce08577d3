"""Reads a list of what is to be forgotten, as people have it, into entries; each line that cannot be read is named.

Owns the forms: a text with one thing on each line, which says by itself what it is; a table (CSV, TSV) with the columns
`kind` and `value`; JSON or JSON lines with these fields. Lines are read one after the other: 25 bytes of each spelling
stay in memory, nothing of the text does.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pipelines.exits import BadCommandError
from pipelines.indexes.domains import domain_of, has_known_suffix, is_above_domains
from pipelines.indexes.subjects import bytes_digest, name_digest
from stages.formats.sample_table import SAMPLE_ID_BYTES
from stages.origins.clean_text import TextEncodingError, clean_text, trim
from stages.takedowns.lists import KINDS, entry, sorted_entries, text_digest
from stages.takedowns.spelling import WEB, spelled, spelled_host

MAX_FAULTS: Final = 8
"""Lines that an error names, at most."""
SHOWN_CHARACTERS: Final = 40
HOST: Final = re.compile(r"[^\s/?#@:\[\]]+\.[^\s/?#@:\[\]]+|\[[0-9A-Fa-f:.]+\]")
DIGITS: Final = {2 * SAMPLE_ID_BYTES: "sample", 64: "picture"}
"""Hex digits of what is named by them."""
SHA256_BYTES: Final = 32


@dataclass
class TypedList:
    """What a file lists."""

    numbers: Counter[str] = field(default_factory=Counter)
    """Kind to the number of lines that name one."""
    faults: list[str] = field(default_factory=list)
    """The first lines that cannot be read, and why."""
    num_faults: int = 0
    entries: bytearray = field(default_factory=bytearray)

    def add(self, line: int, kind: str, value: str) -> None:
        """Add what a line names; `kind` is '' where it says by itself what it is."""
        try:
            if not trim(value):
                raise ValueError("it has no value, or one that shows nothing")
            kind = trim(kind).lower() or _guessed(trim(value))
            if kind not in KINDS:
                raise ValueError(f"{_shown(kind)} is no kind: {', '.join(KINDS)}")
            self.entries += b"".join(_entries(kind, value.strip() if kind == "caption" else trim(value)))
            self.numbers[kind] += 1
        except ValueError as error:
            self.fault(line, str(error))

    def fault(self, line: int, why: str) -> None:
        """Note that a line cannot be read."""
        self.num_faults += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(f"line {line}: {why}")


def read_list_file(path: Path) -> TypedList:
    """What a file lists. Raises `BadCommandError` where it cannot be read, lists nothing, or has lines at fault."""
    found = TypedList()
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            for line, kind, value in _rows(path, lines, found):
                found.add(line, kind, value)
    except (OSError, csv.Error, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BadCommandError(f"{path} cannot be read: {why}", then="neo takedown --help") from error
    if found.num_faults:
        more = found.num_faults - len(found.faults)
        raise BadCommandError(
            f"{found.num_faults:,} lines of {path} cannot be read, and nothing was done:\n  "
            + "\n  ".join([*found.faults, *([f"and {more:,} more"] if more else [])]),
            then="neo takedown --help",
        )
    if not found.numbers:
        raise BadCommandError(f"{path} lists nothing", then="neo takedown --help")
    return found


def list_bytes(found: TypedList) -> bytes:
    """The bytes of the list as the store keeps it."""
    return sorted_entries(found.entries)


def _rows(path: Path, lines: Iterable[str], found: TypedList) -> Iterator[tuple[int, str, str]]:
    """Number, kind ('' where it is not said) and value of each row of a file, by its name's ending."""
    ending = path.suffix.lower()
    if ending in (".csv", ".tsv"):
        yield from _table_rows(csv.reader(lines, delimiter="\t" if ending == ".tsv" else ",", strict=True), found)
    elif ending in (".jsonl", ".ndjson"):
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, *_of_json(json.loads(line), f"line {number}")
    elif ending == ".json":
        document = json.loads("".join(lines))
        if not isinstance(document, list):
            raise ValueError("it holds no list of objects with `kind` and `value`")
        for number, one in enumerate(document, start=1):
            yield number, *_of_json(one, f"entry {number}")
    else:
        yield from ((number, "", line) for number, line in enumerate(lines, start=1) if trim(line))


def _table_rows(reader: Any, found: TypedList) -> Iterator[tuple[int, str, str]]:
    """The rows of a CSV or TSV; one with cells too many or too few is a fault, since nobody knows what it means."""
    columns = [trim(name).lower() for name in next(reader, ())]
    if columns.count("value") != 1 or columns.count("kind") > 1:
        raise ValueError(f"its first line names no column `value`, or one twice: {', '.join(columns) or 'nothing'}")
    for cells in reader:
        if cells and len(cells) != len(columns):
            found.fault(
                reader.line_num,
                f"{len(cells)} cells, and the first line has {len(columns)}: put values with commas into quotes",
            )
        elif cells:
            row = dict(zip(columns, cells, strict=True))
            yield reader.line_num, row.get("kind", ""), row["value"]


def _of_json(one: Any, where: str) -> tuple[str, str]:
    value = one.get("value") if isinstance(one, dict) else one
    kind = one.get("kind", "") if isinstance(one, dict) else ""
    if not isinstance(value, str) or not isinstance(kind, str):
        raise ValueError(f"{where} is neither text nor an object with the texts `kind` and `value`")
    return kind, value


def _guessed(value: str) -> str:
    """What a line names. Raises `ValueError` where it does not say so by itself."""
    kind = DIGITS.get(len(value)) if re.fullmatch("[0-9a-fA-F]+", value) else None
    if kind is not None:
        return kind
    if WEB.match(value):
        return "url"
    if HOST.fullmatch(value) and not value.startswith("."):
        if not has_known_suffix(spelled_host(value)):
            raise ValueError(
                f"{_shown(value)} ends like no host: a name of a picture, or a host of your own network, stands in a "
                "CSV, after its kind (`url`, `domain`)"
            )
        return "domain"
    raise ValueError(
        f"{_shown(value)} is no URL, no host, no sha256 of a picture (64 hex digits) and no sample id (32); a name or "
        "a caption stands in a CSV, after its kind"
    )


def _entries(kind: str, value: str) -> Iterator[bytes]:
    """The entries of one thing: a URL has one for each spelling. Raises `ValueError` where the value is none."""
    if kind == "url":
        for spelling in spellings(value):
            yield entry(kind, text_digest(spelling), name_digest(spelling))
    elif kind == "domain":
        host = spelled_host(value.removeprefix("*."))
        if not HOST.fullmatch(host) or "*" in host:
            raise ValueError(f"{_shown(value)} is no host: write example.org, without scheme, path, port, user or `*`")
        if is_above_domains(host):
            raise ValueError(f"{_shown(value)} is above all domains that somebody registered; name these")
        yield entry(kind, text_digest(host), name_digest(domain_of(host)))
    elif kind == "caption":
        for text in dict.fromkeys((value, _cleaned(value))):
            yield entry(kind, text_digest(text), name_digest(text))
    else:
        num_bytes = SHA256_BYTES if kind == "picture" else SAMPLE_ID_BYTES
        if not re.fullmatch(f"[0-9a-fA-F]{{{2 * num_bytes}}}", value):
            raise ValueError(f"{_shown(value)} is no {kind}: {2 * num_bytes} hex digits")
        digest = bytes.fromhex(value)
        yield entry(kind, digest, bytes_digest(digest))


def spellings(url: str) -> list[str]:
    """A URL as it was typed and as we ask for it, each with http and with https; another name, as it is."""
    found = [*dict.fromkeys(spelled(url)[:2])]
    found += [WEB.sub("https://" if one[4:5] == ":" else "http://", one, count=1) for one in found if WEB.match(one)]
    return list(dict.fromkeys(found))


def _cleaned(caption: str) -> str:
    """A caption as tables have it."""
    try:
        return clean_text(caption)
    except TextEncodingError as error:
        raise ValueError(f"{_shown(caption)} is not UTF-8") from error


def _shown(value: str) -> str:
    return repr(value if len(value) <= SHOWN_CHARACTERS else f"{value[: SHOWN_CHARACTERS - 3]}...")
