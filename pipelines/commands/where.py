"""`neo where`: lineage forward, from what people know of samples to every artifact that they went into."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeAlias

import typer

from pipelines.commands.context import CommandContext
from pipelines.commands.options import DomainOption, more_option, with_more_options
from pipelines.commands.sighting_words import describe
from pipelines.commands.unindexed import tell_reading
from pipelines.exits import BadCommandError
from pipelines.lineage.graph import Lineage, all_heads, lineage_of, step_name
from pipelines.runs.refs import MAX_CANDIDATES, resolve_artifact
from pipelines.screen.console import clean
from pipelines.screen.text_table import Column, TextTable, sentence
from stages.artifacts.artifact import Artifact
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import ManifestHead
from stages.formats.sample_table import SAMPLE_ID_BYTES
from stages.store.store import Store

if TYPE_CHECKING:
    from pipelines.lineage.sightings import Sighting
    from pipelines.lineage.sought import Alike, Search, Sought

SAMPLE_ID_DIGITS = 2 * SAMPLE_ID_BYTES
SAMPLE_ID_START = re.compile(rf"[0-9a-f]{{4,{SAMPLE_ID_DIGITS}}}")
SHA256_DIGITS = re.compile(r"[0-9a-f]{64}")

WhatArgument: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="URL|ID",
        help="A URL, the name of a picture or video in its source, or a sample's id: all its digits or 4 or more.",
    ),
]
SampleOption: TypeAlias = Annotated[
    str | None, typer.Option("--sample", metavar="ID", help="A sample's id, all its digits or 4 or more.")
]
PictureOption: TypeAlias = Annotated[
    Path | None, typer.Option("--picture", metavar="FILE", help="The picture with the bytes of FILE.")
]
NearOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--near",
        metavar="BITS",
        min=0,
        max=16,
        help="With --picture: pictures too whose perceptual hash differs in at most BITS of 64 bits, such as 3.",
    ),
]
ListOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--file", metavar="LIST", help="Many at once: a URL, name, sample id or sha256 on each line."),
]
TextOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--text", metavar="SENTENCE", help="Captions, texts and messages with these words in a row."),
]
BehindOption: TypeAlias = Annotated[
    str, typer.Option("--behind", metavar="REF", help="Only in REF and in what it was made of.")
]


@with_more_options(more_option("sentence", None, TextOption))
def where(
    ctx: typer.Context,
    what: WhatArgument = None,
    *,
    sample: SampleOption = None,
    domain: DomainOption = None,
    picture: PictureOption = None,
    near: NearOption = None,
    listed: ListOption = None,
    behind: BehindOption = "",
) -> None:
    """Show what one URL, picture, video or text went into.

    Its verdict, the draws and packed rows that hold it, the optimizer steps that read it, and the checkpoints that
    were trained on it. Uses the indexes that `neo index` makes; without them, reads the tables of all samples.
    """
    command: CommandContext = ctx.obj
    text = command.sentence
    asked = {"URL|ID": what, "--sample": sample, "--domain": domain, "--picture": picture, "--text": text}
    asked["--file"] = listed
    typed = [name for name, value in asked.items() if value is not None]
    if len(typed) != 1:
        raise BadCommandError(
            f"say one of {', '.join(asked)}{f', not {len(typed)}' if typed else ''}", then="neo where --help"
        )
    for name, value in asked.items():
        if isinstance(value, str) and not _is_text(value):
            raise BadCommandError(
                f"{name} {value!a} is no text: it has bytes that are no UTF-8", then="neo where --help"
            )
    if near is not None and picture is None:
        raise BadCommandError("--near says how like a --picture others are; name one", then="neo where --help")
    if domain is not None:
        follow_domain(command, domain, behind)
    if text is not None:
        follow_text(command, text, behind)
    if picture is not None:
        follow_picture(command, picture, near, behind)
    if listed is not None:
        follow_list(command, listed, behind)
    if sample is not None:
        follow_sample(command, sample, behind)
    assert what is not None
    (follow_sample if SAMPLE_ID_START.fullmatch(what) else follow_url)(command, what, behind)


@dataclass(frozen=True)
class SearchedPlace:
    """The artifacts that are searched."""

    store: Store
    lineage: Lineage | None
    """Only those of this lineage; None for all of the store."""

    @property
    def heads(self) -> Iterator[ManifestHead]:
        """All artifacts, or those of the lineage."""
        if self.lineage is None:
            return all_heads(self.store)
        return (node.head for node in self.lineage.nodes if node.head)

    def __str__(self) -> str:
        return f"behind {self.lineage.target.short}" if self.lineage else f"in {self.store.url}"


def follow_url(command: CommandContext, url: str, behind: str) -> NoReturn:
    """Where a URL went, or what is called so in its source. Raises `BadCommandError` if no table has it."""
    from pipelines.lineage.sought import names

    place = _place(command, behind)
    sightings, search = _followed(command, place, [names([url])])
    if not sightings and ":" not in url and "/" not in url:
        raise BadCommandError(
            f"{url!r} is no sample id: 4 to {SAMPLE_ID_DIGITS} of the digits 0 to 9 and a to f; and no URL, nor "
            f"the name of a picture or video {place}",
            then="neo list",
        )
    if not sightings:
        raise BadCommandError(f"no URL table {place} has {url}", then="neo list")
    _say(command, sightings, search, {"url": url}, url)


def follow_sample(command: CommandContext, digits: str, behind: str) -> NoReturn:
    """Where a sample went, by the beginning of its id. Raises `BadCommandError` if none or several begin so."""
    from pipelines.lineage.forward import find_samples
    from pipelines.lineage.sought import sample_ids

    place = _place(command, behind)
    if not SAMPLE_ID_START.fullmatch(digits):
        raise BadCommandError(
            f"{digits!r} is no sample id: 4 to {SAMPLE_ID_DIGITS} of the digits 0 to 9 and a to f; and no URL",
            then="neo list",
        )
    search = _search(command)
    is_whole = len(digits) == SAMPLE_ID_DIGITS
    ids = {bytes.fromhex(digits)} if is_whole else find_samples(place.store, digits, place.heads, search)
    if len(ids) > 1:
        listed = ", ".join(sorted(sample_id.hex() for sample_id in ids)[:MAX_CANDIDATES])
        more = f"more than {len(ids)}" if search.num_unread else str(len(ids))
        raise BadCommandError(f"{more} sample ids {place} begin with {digits}: {listed}", then="neo list")
    sightings: list[Sighting] = []
    if ids:
        sightings, search = _followed(command, place, [sample_ids(ids)])
    named = next((sample_id.hex() for sample_id in ids), digits)
    if not sightings:
        raise BadCommandError(f"no sample table {place} has {named}", then="neo list")
    _say(command, sightings, search, {"sample_id": named}, named)


def follow_domain(command: CommandContext, name: str, behind: str) -> NoReturn:
    """Where all pictures and videos of a host went. Raises `BadCommandError` if no URL is on it."""
    from pipelines.lineage.sought import domain, is_host

    if not is_host(name):
        raise BadCommandError(
            f"{name!r} is no host: write one such as example.org, without scheme, path, port or user",
            then="neo where --help",
        )
    place, sought = _place(command, behind), domain(name)
    sightings, search = _followed(command, place, [sought])
    if not sightings:
        raise BadCommandError(f"no URL {place} is on {name}", then="neo list")
    if not sought.is_indexed:
        command.say(f"An index has the domains below {name}, not {name} itself: all tables were read.")
    _say(command, sightings, search, {"domain": name}, name, makes="neo index" if sought.is_indexed else "")


def follow_text(command: CommandContext, text: str, behind: str) -> NoReturn:
    """Where the samples went that hold a sentence. Raises `BadCommandError` if none does, or it is too short."""
    from pipelines.lineage.sought import sentence

    try:
        sought = sentence(text)
    except ValueError as error:
        raise BadCommandError(f"{error}: a sentence is looked for by its runs of words", then="neo list") from error
    place = _place(command, behind)
    sightings, search = _followed(command, place, [sought])
    if not sightings:
        raise BadCommandError(f"no caption, text or message {place} has these words in a row: {text}", then="neo list")
    _say(command, sightings, search, {"text": text}, text, makes="neo index --text")


def follow_picture(command: CommandContext, path: Path, near: int | None, behind: str) -> NoReturn:
    """Where the picture with the bytes of a file went, and those that look like it, within `near` bits.

    Raises `BadCommandError` if there is none.
    """
    from pipelines.lineage.sought import pictures, sample_ids

    data = _bytes_of(path)
    sha256 = hashlib.sha256(data).digest()
    place = _place(command, behind)
    document: dict[str, object] = {"picture": str(path), "sha256": sha256.hex()}
    soughts, hashes = [pictures([sha256])], _search(command)
    if near is not None:
        found = _alike(place, path, data, near, hashes)
        command.say(
            *(f"  {one.sample_id.hex()} differs in {one.num_bits} of 64 bits" for one in found[:MAX_CANDIDATES])
        )
        document["near"] = [{"sample_id": one.sample_id.hex(), "num_bits": one.num_bits} for one in found]
        soughts += [sample_ids({one.sample_id for one in found})] if found else []
    sightings, search = _followed(command, place, soughts)
    search.unindexed += hashes.unindexed
    if not sightings:
        like = "has the bytes of" if near is None else f"differs in {near} bits or fewer from"
        advice = "; `--near 3` finds pictures that look like it" if near is None else ""
        raise BadCommandError(f"no picture {place} {like} {path} (sha256 {sha256.hex()}){advice}", then="neo list")
    _say(command, sightings, search, document, str(path))


def _alike(place: SearchedPlace, path: Path, data: bytes, max_bits: int, search: Search) -> list[Alike]:
    """The pairs that look like a picture, of all artifacts with hashes. Raises `BadCommandError` where none has."""
    from pipelines.indexes.subjects import LOOKS, indexed_of
    from pipelines.lineage.sought import alike
    from stages.duplicates.measures.picture_hashes import UnreadablePictureError, picture_hash, tells_apart

    heads = [head for head in place.heads if (one := indexed_of(head)) is not None and LOOKS in one.subjects]
    if not heads:
        raise BadCommandError(
            f"no step {place} compared pictures by their looks: that takes `dedup_pairs` with `max_near_bits`",
            then="neo where --help",
        )
    try:
        value = picture_hash(data)
    except UnreadablePictureError as error:
        raise BadCommandError(f"{path} is no picture that can be compared: {error}", then="neo where --help") from error
    if not tells_apart(value):
        raise BadCommandError(f"{path} has too little in it to be told from others", then="neo where --help")
    found = {
        one.sample_id: one for head in heads for one in alike(Artifact(place.store, head), value, max_bits, search)
    }
    return sorted(found.values(), key=lambda one: (one.num_bits, one.sample_id))


def follow_list(command: CommandContext, path: Path, behind: str) -> NoReturn:
    """Where the samples went that the lines of a file name. Raises `BadCommandError` if there is none of them."""
    from pipelines.lineage.sought import found_by, names, pictures, sample_ids

    lines = [line.strip() for line in _bytes_of(path).decode("utf-8-sig", "replace").splitlines()]
    asked = list(dict.fromkeys(line for line in lines if line))
    digits = {line.lower() for line in asked}
    ids = [one for one in digits if len(one) == SAMPLE_ID_DIGITS and SAMPLE_ID_START.fullmatch(one)]
    digests = [one for one in digits if SHA256_DIGITS.fullmatch(one)]
    soughts = [sample_ids(map(bytes.fromhex, ids)), pictures(map(bytes.fromhex, digests))]
    soughts.append(names(asked))  # a name may be digits, too
    place = _place(command, behind)
    sightings, search = _followed(command, place, [one for one in soughts if one.digests])
    if not sightings:
        raise BadCommandError(f"none of the {len(asked):,} lines of {path} names a sample {place}", then="neo list")
    by_value, hex_digits = found_by(sightings), {*ids, *digests}
    found = {line: by_value[line] for line in asked if line in by_value}
    for line in asked:
        if line.lower() in hex_digits and line != line.lower() and line.lower() in by_value:
            found[line] = list(dict.fromkeys([*found.get(line, ()), *by_value[line.lower()]]))
    missing = [line for line in asked if line not in found]
    command.say(*(f"  not found: {clean(line)}" for line in missing[:MAX_CANDIDATES]))
    command.say(*([f"  and {len(missing) - MAX_CANDIDATES:,} more"] if len(missing) > MAX_CANDIDATES else []))
    document = {
        "file": str(path),
        "num_asked": len(asked),
        "found": [{"asked": line, "sample_ids": found[line]} for line in asked if line in found],
        "missing": missing,
    }
    _say(command, sightings, search, document, f"{len(asked) - len(missing):,} of {len(asked):,} lines of {path}")


def _followed(
    command: CommandContext, place: SearchedPlace, soughts: Sequence[Sought]
) -> tuple[list[Sighting], Search]:
    from pipelines.lineage.forward import follow

    search = _search(command)
    return follow(place.store, soughts, place.heads, search), search


def _search(command: CommandContext) -> Search:
    from pipelines.lineage.sought import Search

    return Search(lambda head: tell_reading(command, head, _named(head)), command.warnings.warn)


def _say(
    command: CommandContext,
    sightings: Sequence[Sighting],
    search: Search,
    asked: Mapping[str, object],
    title: str,
    *,
    makes: str = "neo index",
) -> NoReturn:
    """The artifacts that hold what was asked for; how the search went; and the next command."""
    table = TextTable("step", "artifact", Column("kind", goes=1), sentence("what it holds"))
    for sighting in sightings:
        artifact = f"{sighting.stage}/{sighting.fingerprint[:SHOWN_DIGITS]}"
        table.add(sighting.step, artifact, sighting.kind, describe(sighting))
    command.say(clean(title), table)
    unindexed = list(dict.fromkeys(_named(head) for head in search.unindexed))
    if unindexed:
        advice = f" `{makes}` makes indexes." if makes else ""
        command.say(f"Read without an index: {', '.join(unindexed)}.{advice}")
    document = {
        **asked,
        "sightings": [_sighting_document(sighting) for sighting in sightings],
        "unindexed": list(dict.fromkeys(head.fingerprint for head in search.unindexed)),
    }
    command.end(document, then=f"neo show {sightings[-1].fingerprint[:SHOWN_DIGITS]}")


def _sighting_document(sighting: Sighting) -> dict[str, object]:
    """The keys are part of what `--json` promises."""
    return {
        "step": sighting.step,
        "stage": sighting.stage,
        "fingerprint": sighting.fingerprint,
        "kind": sighting.kind,
        "said": describe(sighting),
        "details": sighting.details(),
    }


def _named(head: ManifestHead) -> str:
    return f"{step_name(head)} ({head.short})"


def _place(command: CommandContext, behind: str) -> SearchedPlace:
    store = command.store_to_read()
    return SearchedPlace(store, lineage_of(store, *resolve_artifact(store, behind)) if behind else None)


def _is_text(value: str) -> bool:
    """Whether what was typed is text: bytes that are no UTF-8 reach a program as halves of surrogate pairs."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadCommandError(f"{path} cannot be read: {error.strerror}", then="neo where --help") from error
