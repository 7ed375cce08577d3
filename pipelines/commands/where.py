"""`neo where`: lineage forward, from what people know of samples to every artifact that they went into."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.table import Table

from pipelines.commands.context import CommandContext
from pipelines.commands.sighting_words import describe
from pipelines.exits import BadCommandError
from pipelines.lineage.graph import Lineage, all_heads, lineage_of, step_name
from pipelines.runs.refs import MAX_CANDIDATES, resolve_artifact
from pipelines.screen.console import clean
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import ManifestHead
from stages.formats.sample_table import SAMPLE_ID_BYTES
from stages.store.store import Store

if TYPE_CHECKING:
    from pipelines.lineage.sightings import Sighting
    from pipelines.lineage.sought import Search, Sought

SAMPLE_ID_DIGITS = 2 * SAMPLE_ID_BYTES
SAMPLE_ID_START = re.compile(rf"[0-9a-f]{{4,{SAMPLE_ID_DIGITS}}}")
SHA256_DIGITS = re.compile(r"[0-9a-f]{64}")
MANY_TABLES = 64
"""An artifact with so many tables and no index is named before they are read, since that takes long."""


def where(
    ctx: typer.Context,
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[URL|ID]",
            help="A URL, the name of a picture or video in its source, or a sample's id: all its digits or 4 or more.",
        ),
    ] = None,
    *,
    sample: Annotated[
        str | None, typer.Option("--sample", metavar="ID", help="A sample's id, all its digits or 4 or more.")
    ] = None,
    domain: Annotated[
        str | None, typer.Option("--domain", metavar="HOST", help="Every URL on HOST and on the hosts below it.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE", help="The picture with the bytes of FILE.")
    ] = None,
    listed: Annotated[
        Path | None,
        typer.Option("--file", metavar="LIST", help="Many at once: a URL, name, sample id or sha256 on each line."),
    ] = None,
    behind: Annotated[
        str, typer.Option("--behind", metavar="REF", help="Only in REF and in what it was made of.")
    ] = "",
) -> None:
    """Show what one URL, pair, video, clip, text or conversation went into.

    Its verdict, the draws and packed rows that hold it, the optimizer steps that read it, and the checkpoints that
    were trained on it. Uses the indexes that `neo index` makes; without them, reads the tables of all samples.
    """
    command: CommandContext = ctx.obj
    asked = {"URL|ID": what, "--sample": sample, "--domain": domain, "--picture": picture, "--file": listed}
    typed = [name for name, value in asked.items() if value is not None]
    if len(typed) != 1:
        raise BadCommandError(
            f"say one of {', '.join(asked)}{f', not {len(typed)}' if typed else ''}", then="neo where --help"
        )
    if domain is not None:
        follow_domain(command, domain, behind)
    if picture is not None:
        follow_picture(command, picture, behind)
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
    from pipelines.lineage.sought import Search, sample_ids

    place = _place(command, behind)
    if not SAMPLE_ID_START.fullmatch(digits):
        raise BadCommandError(
            f"{digits!r} is no sample id: 4 to {SAMPLE_ID_DIGITS} of the digits 0 to 9 and a to f; and no URL",
            then="neo list",
        )
    search = Search(_tells_of(command))
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
    from pipelines.lineage.sought import domain

    if "/" in name or not name.strip("."):
        raise BadCommandError(f"{name!r} is no host: write one such as example.org", then="neo where --help")
    place = _place(command, behind)
    sightings, search = _followed(command, place, [domain(name)])
    if not sightings:
        raise BadCommandError(f"no URL {place} is on {name}", then="neo list")
    _say(command, sightings, search, {"domain": name}, name)


def follow_picture(command: CommandContext, path: Path, behind: str) -> NoReturn:
    """Where the picture with the bytes of a file went. Raises `BadCommandError` if there is none."""
    from pipelines.lineage.sought import pictures

    sha256 = hashlib.sha256(_bytes_of(path)).digest()
    place = _place(command, behind)
    sightings, search = _followed(command, place, [pictures([sha256])])
    if not sightings:
        raise BadCommandError(f"no picture {place} has the bytes of {path} (sha256 {sha256.hex()})", then="neo list")
    _say(command, sightings, search, {"picture": str(path), "sha256": sha256.hex()}, str(path))


def follow_list(command: CommandContext, path: Path, behind: str) -> NoReturn:
    """Where the samples went that the lines of a file name. Raises `BadCommandError` if there is none of them."""
    from pipelines.lineage.sought import found_by, names, pictures, sample_ids

    lines = [line.strip() for line in _bytes_of(path).decode("utf-8", "replace").splitlines()]
    asked = list(dict.fromkeys(line for line in lines if line))
    ids = [line for line in asked if len(line) == SAMPLE_ID_DIGITS and SAMPLE_ID_START.fullmatch(line)]
    digests = [line for line in asked if SHA256_DIGITS.fullmatch(line)]
    others = set(ids) | set(digests)
    soughts = [sample_ids(map(bytes.fromhex, ids)), pictures(map(bytes.fromhex, digests))]
    soughts.append(names([line for line in asked if line not in others]))
    place = _place(command, behind)
    sightings, search = _followed(command, place, [one for one in soughts if one.digests])
    if not sightings:
        raise BadCommandError(f"none of the {len(asked):,} lines of {path} names a sample {place}", then="neo list")
    found = found_by(sightings)
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
    from pipelines.lineage.sought import Search

    search = Search(_tells_of(command))
    return follow(place.store, soughts, place.heads, search), search


def _tells_of(command: CommandContext) -> Callable[[ManifestHead], None]:
    """Says what takes long before it begins."""

    def tell(head: ManifestHead) -> None:
        num_tables = head.last_phase.num_parts
        if num_tables >= MANY_TABLES:
            command.say(f"{_named(head)} has no index: its {num_tables:,} tables are read. `neo index` makes one.")

    return tell


def _say(
    command: CommandContext, sightings: Sequence[Sighting], search: Search, asked: Mapping[str, object], title: str
) -> NoReturn:
    """The artifacts that hold what was asked for; how the search went; and the next command."""
    table = Table("step", "artifact", "kind", "what it holds", box=None, pad_edge=False)
    for sighting in sightings:
        artifact = f"{sighting.stage}/{sighting.fingerprint[:SHOWN_DIGITS]}"
        table.add_row(sighting.step, artifact, sighting.kind, clean(describe(sighting)))
    command.say(clean(title), table)
    unindexed = list(dict.fromkeys(_named(head) for head in search.unindexed))
    if unindexed:
        command.say(f"Read without an index: {', '.join(unindexed)}. `neo index` makes indexes.")
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
    return f"{step_name(head)} ({head.stage}/{head.fingerprint[:SHOWN_DIGITS]})"


def _place(command: CommandContext, behind: str) -> SearchedPlace:
    store = command.store_to_read()
    return SearchedPlace(store, lineage_of(store, *resolve_artifact(store, behind)) if behind else None)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadCommandError(f"{path} cannot be read: {error.strerror}", then="neo where --help") from error
