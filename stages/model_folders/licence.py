"""The licence of a model folder: as the front matter of its README states it, and the files that hold its text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from stages.model_folders.folder import ForeignFolder

README_FILE: Final = "README.md"
_FRONT_MATTER: Final = re.compile(r"\A\ufeff?---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.S)
_LICENCE_LINE: Final = re.compile(
    r"^(?P<key>license|license_name|license_link)[ \t]*:[ \t]*\n?[ \t-]*(?P<value>[^\n]*)$", re.M
)
_COMMENT: Final = re.compile(r"(?:^|\s)#.*")
_TEXT_FILE: Final = re.compile(r"(?:licen[cs]e|notice|copying|usage[_-]policy)\b.*", re.I)


@dataclass(frozen=True)
class Licence:
    """What a folder says about its terms."""

    name: str | None
    """Identifier from the README, such as `apache-2.0`; None where it states none."""
    link: str | None
    """Address of the terms, where the README gives one."""
    files: tuple[str, ...]
    """Names of the files that hold the terms, which are kept in the artifact."""


def licence_of(folder: ForeignFolder) -> Licence:
    """The licence of a folder. `license: other` is told by its `license_name`."""
    stated: dict[str, str] = {}
    if README_FILE in folder.files:
        matter = _FRONT_MATTER.match(folder.read(README_FILE).decode(errors="replace").replace("\r\n", "\n"))
        for found in _LICENCE_LINE.finditer(matter[1] if matter else ""):
            stated.setdefault(found["key"], _COMMENT.sub("", found["value"]).strip().strip("'\"[]"))
    name = stated.get("license") or None
    if name and name.lower() == "other" and stated.get("license_name"):
        name = stated["license_name"]
    files = tuple(file for file in folder.settings if _TEXT_FILE.fullmatch(file))
    return Licence(name, stated.get("license_link") or None, files)
