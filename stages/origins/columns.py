"""Matches the columns of a user's table with those that a stage wants, before anything is asked for or written.

A recipe's `columns={"url": "URL"}` says which column of the table is meant; what it leaves out is guessed from
well-known spellings. Every other column is carried along under its own name, or under the one that `columns` gives it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from stages.contract import StageError
from stages.origins.tables.row_batches import MALFORMED
from stages.origins.tables.text_lines import LINE

NO_COLUMN: Final = ""
"""What `columns` names for a wanted column that the table does not have and that may be empty in every row."""
SPELLINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "url": ("url", "imageurl", "imgurl", "photourl", "pictureurl", "urls", "imagelink", "link", "src", LINE),
    "caption": ("caption", "text", "alt", "alttext", "title", "captions", "description", "txt", "recaption"),
    "text": ("text", "content", "document", "body", "rawcontent", "passage", "article", LINE),
    "id": ("id", "docid", "documentid", "uid", "uuid", "idx", "sampleid", "questionid"),
    "image": ("image", "images", "img", "picture", "imagepath", "filename", "imagefile", "jpg"),
    "video": (
        "video",
        "videos",
        "videopath",
        "videofile",
        "videourl",
        "videolink",
        "contenturl",
        "clip",
        "mp4",
        "url",
        LINE,
    ),
    "start": ("start", "starttime", "starttimestamp", "startseconds", "startsec", "begin", "cliptimestart"),
    "end": ("end", "endtime", "endtimestamp", "endseconds", "endsec", "cliptimeend"),
    "messages": ("messages", "conversations", "conversation", "dialog", "dialogue", "turns", "chat", "qa"),
    "question": ("question", "query", "prompt"),
    "answer": ("answer", "answers", "label", "gtanswer", "groundtruth"),
    "similarity": (
        "similarity",
        "clipsimilarity",
        "clipscore",
        "clipsimilarityvitb32",
        "clipsimilarityvitl14",
        "clipb32similarityscore",
        "clipl14similarityscore",
    ),
    "punsafe": ("punsafe", "nsfwscoregantman", "nsfwscoreopennsfw2", "nsfwscore", "unsafescore"),
    "pwatermark": ("pwatermark", "watermarkscore"),
    "nsfw_tag": ("nsfwtag", "nsfw"),
}
"""Wanted column to the spellings that are taken for it, without letter case, spaces, `_`, `-` and `.`."""


def match_columns(
    wanted: Sequence[str],
    found: Sequence[str],
    mapping: Mapping[str, str],
    *,
    optional: Collection[str] = (),
    where: str = "the table",
) -> dict[str, str]:
    """Each wanted column and the table's own name of it; `optional` ones that are not there are left out.

    The mapping decides, then a column of exactly the wanted name, then the one column with a well-known spelling of
    it. `where` is how errors call the table. Raises `StageError` where a column is missing or several may be meant,
    with the columns that are there and the mapping to write; and where a name is there twice.
    """
    check_names(found, where)
    matched: dict[str, str] = {}
    for name in wanted:
        if name in mapping:
            theirs = mapping[name]
            if theirs != NO_COLUMN and theirs not in found:
                raise StageError(
                    f"{where} has no column {theirs!r}, which `columns` names for {name!r}; "
                    f"its columns are {listed_names(found)}"
                )
            matched[name] = theirs
            continue
        candidates = _candidates(name, found, taken=[*mapping.values(), *matched.values()])
        if len(candidates) > 1:
            raise StageError(
                f"{where} has several columns that may be {name!r}: {listed_names(candidates)}; say which one in the "
                f"recipe: columns={{{name!r}: {candidates[0]!r}}}"
            )
        if candidates:
            matched[name] = candidates[0]
        elif name not in optional:
            raise StageError(_missing(name, found, matched, where))
    return matched


def spelled_column(name: str, found: Sequence[str]) -> str | None:
    """The column of this very name, or else the one whose spelling stands first in `SPELLINGS`; None without any."""
    if name in found:
        return name
    plain = {_plain(one): one for one in reversed(found)}
    return next((plain[spelling] for spelling in SPELLINGS[name] if spelling in plain), None)


def name_columns(
    found: Sequence[str], matched: Mapping[str, str], mapping: Mapping[str, str], reserved: Collection[str], where: str
) -> dict[str, str]:
    """Name here to name in the table, of every column in the table's order: the matched ones and those carried along.

    Raises `StageError` where a carried column has a name in `reserved`, which our tables use themselves, or where
    two get one name; the mapping can give each another one.
    """
    check_names(found, where)
    renamed = {theirs: ours for ours, theirs in {**mapping, **matched}.items()}
    named: dict[str, str] = {}
    for theirs in found:
        ours = renamed.get(theirs, theirs)
        if ours in named or (ours not in matched and ours in {*reserved, *matched}):
            raise StageError(
                f"{where} has a column {theirs!r}, a name that our own tables use; carry it under another name: "
                f"columns={{'their_{theirs}': {theirs!r}}}"
            )
        named[ours] = theirs
    if unknown := sorted(set(mapping.values()) - set(found) - {NO_COLUMN}):
        raise StageError(
            f"`columns` names {listed_names(unknown)}, which {where} does not have; it has {listed_names(found)}"
        )
    return named


def check_names(found: Sequence[str], where: str) -> None:
    """Raise `StageError` where a column is there twice, or has the name that marks rows that cannot be read."""
    if twice := [name for name, number in Counter(found).items() if number > 1]:
        raise StageError(f"{where} has the column {twice[0]!r} {found.count(twice[0])} times; rename or remove one")
    if MALFORMED in found:
        raise StageError(f"{where} has a column {MALFORMED!r}, a name that is used for unreadable rows; rename it")


def _missing(name: str, found: Sequence[str], matched: Mapping[str, str], where: str) -> str:
    """Words about a missing column: what is there, and what to write."""
    other = next((one for one in found if one not in matched.values()), "...")
    words = (
        f"{where} has no column {name!r}; its columns are {listed_names(found)}. Say in the recipe which one is meant: "
        f"columns={{{name!r}: {other!r}}}"
    )
    if any("://" in one for one in found):
        words += "; or, as the first line looks like a row, how the columns are called: header=('caption', 'url')"
    return words


def _candidates(name: str, found: Sequence[str], taken: Collection[str]) -> list[str]:
    """The column of this very name, or else all that are a well-known spelling of it."""
    if name in found and name not in taken:
        return [name]
    spellings = SPELLINGS.get(name, (_plain(name),))
    return [one for one in found if one not in taken and _plain(one) in spellings]


def _plain(name: str) -> str:
    return re.sub(r"[\s_.\-]+", "", name).lower()


def listed_names(names: Sequence[str]) -> str:
    """Names as an error lists them."""
    return ", ".join(map(repr, names)) or "none"
