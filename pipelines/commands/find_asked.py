"""Finds what `neo exposure` and `neo impact` are asked about in the store.

Owns where each way of asking begins, what typos get, and how what was found is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.commands.asked_about import TypedQuestion
from pipelines.commands.context import CommandContext
from pipelines.commands.unindexed import tell_reading
from pipelines.exits import BadCommandError
from pipelines.exposure import asked
from pipelines.exposure.asked import Beginnings, Nodes
from pipelines.exposure.holds import Doubts
from pipelines.exposure.wanted import joined, of_any
from pipelines.exposure.weights import USERS
from pipelines.lineage.graph import Node, lineage_of
from pipelines.lineage.sought import Search, Sought, domain, is_host, names, pictures, sample_ids
from pipelines.planning.catalog import suggestion
from pipelines.runs.refs import MAX_CANDIDATES, resolve_artifact
from pipelines.screen.console import clean
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import ManifestHead
from stages.formats.sample_table import SAMPLE_ID_BYTES
from stages.store.store import Store
from stages.surfaces.first_few import first_few

SAMPLE_ID = re.compile(rf"[0-9a-fA-F]{{{2 * SAMPLE_ID_BYTES}}}")
SHA256 = re.compile(r"[0-9a-fA-F]{64}")
ID_START = re.compile(rf"[0-9a-fA-F]{{4,{2 * SAMPLE_ID_BYTES - 1}}}")


@dataclass
class Asked:
    """What was asked about, as it was found."""

    beginnings: Beginnings
    title: str
    """What was asked about, in words."""
    document: dict[str, Any]
    """What was asked about as JSON has it, and what was found of it."""
    doubts: Doubts
    missing: list[str] = field(default_factory=list)
    """Lines of a list that no table has."""
    elsewhere: list[str] = field(default_factory=list)
    """Lines that tables of other artifacts have, and that were looked for by the ids of their samples."""
    unindexed: list[ManifestHead] = field(default_factory=list)
    """Artifacts of which all tables were read."""

    def lines(self) -> Iterator[str]:
        """What was found, in sentences."""
        found = self.beginnings
        if found.num_found:
            ends = ", ".join(f"{number:,} {ending}" for ending, number in sorted(found.verdicts.items()))
            yield f"Found in tables: {found.num_kept:,} kept{f', {ends}' if ends else ''}."
        if self.elsewhere:
            named = clean(first_few(self.elsewhere, MAX_CANDIDATES))
            yield f"No table behind it has {named} by that name, others do: looked for by sample ids."
        yield from (f"  not found: {clean(line)}" for line in self.missing[:MAX_CANDIDATES])
        if len(self.missing) > MAX_CANDIDATES:
            yield f"  and {len(self.missing) - MAX_CANDIDATES:,} more"
        if self.unindexed:
            shorts = list(dict.fromkeys(head.short for head in self.unindexed))
            yield f"Read without an index: {first_few(shorts, 3)}. `neo index` makes indexes."


def with_asked(store: Store, question: TypedQuestion, nodes: dict[str, Node]) -> dict[str, Node]:
    """These artifacts, and the one that `--of` names with what it was made of: others may share parts of it."""
    if question.of is None:
        return nodes
    stage, fingerprint = resolve_artifact(store, question.of)
    if f"{stage}/{fingerprint[:SHOWN_DIGITS]}" in nodes:
        return nodes
    return {**nodes, **{node.short: node for node in lineage_of(store, stage, fingerprint).nodes}}


def find(
    command: CommandContext,
    store: Store,
    question: TypedQuestion,
    nodes: Nodes,
    doubts: Doubts,
    *,
    elsewhere: Nodes | None = None,
) -> Asked:
    """Where what is asked about begins, among `nodes`. Raises `BadCommandError` where there is no such thing.

    A URL that none of these have is looked for in `elsewhere` as well, and then by the ids of its samples: what was
    taken down has no URL any more, and keeps its ids.
    """
    if question.what is not None or question.listed is not None:
        return _by_lines(command, question, nodes, doubts, elsewhere or {})
    if question.domain is not None:
        return _by_domain(command, question, nodes, doubts, elsewhere or {})
    if question.source is not None:
        return _by_source(question, question.source, nodes, doubts)
    if question.reason is not None:
        return _by_reason(question, question.reason, nodes, doubts)
    if question.made_by is not None:
        return _by_maker(question, question.made_by, nodes, doubts)
    assert question.of is not None
    return _by_artifact(store, question, question.of, nodes, doubts)


def _by_lines(
    command: CommandContext, question: TypedQuestion, nodes: Nodes, doubts: Doubts, elsewhere: Nodes
) -> Asked:
    path, what = question.listed, question.what
    lines = [what] if path is None else _lines_of(question, path)
    lines = list(dict.fromkeys(line for line in lines if line))
    if not lines:
        raise question.wrong(f"{path} has no line to look for")
    found, search = _sought(command, _soughts(lines), nodes, doubts, keeps_values=True)
    values = {line: found.samples_of(line) for line in lines}
    missing = [line for line, samples in values.items() if not samples]
    named = _begin_by_ids(command, _soughts(missing), elsewhere, nodes, found)
    by_id = {line: samples for line in missing if (samples := named.samples_of(line))}
    values |= by_id
    missing = [line for line in missing if line not in by_id]
    title = clean(lines[0]) if path is None else f"{len(lines) - len(missing):,} of {len(lines):,} lines of {path}"
    if not found.num_found and not by_id and not doubts.reasons:
        raise BadCommandError(_not_there(question, lines), then="neo list")
    listed = [
        {"asked": line, "sample_ids": [*samples][: asked.MAX_IDS], "has_more": len(samples) > asked.MAX_IDS}
        for line, samples in values.items()
        if samples
    ]
    document: dict[str, Any] = {"asked": {"file": str(path)} if path else {"url_or_id": lines[0]}, "found": listed}
    document |= {"missing": missing, "elsewhere": [*by_id]}
    return Asked(found, title, document, doubts, missing, [*by_id], search.unindexed)


def _soughts(lines: Sequence[str]) -> list[Sought]:
    """What each line may be: a name, the id of a sample, the digest of a picture."""
    ids = [bytes.fromhex(line) for line in lines if SAMPLE_ID.fullmatch(line)]
    digests = [bytes.fromhex(line) for line in lines if SHA256.fullmatch(line)]
    return [one for one in (names(lines), sample_ids(ids), pictures(digests)) if one.digests]


def _begin_by_ids(
    command: CommandContext, soughts: Sequence[Sought], elsewhere: Nodes, nodes: Nodes, found: Beginnings
) -> Beginnings:
    """Begin in `nodes` with the samples that other artifacts have of what is sought; what these have of it."""
    others = {short: node for short, node in elsewhere.items() if short not in nodes}
    if not soughts or not others:
        return Beginnings()
    named, _ = _sought(command, soughts, others, Doubts(), keeps_values=True)
    wanted = of_any(joined(named.holds.values()))
    for short, hold in asked.of_wanted(nodes, wanted).holds.items():
        found.begin(short, hold)
    return named


def _by_domain(
    command: CommandContext, question: TypedQuestion, nodes: Nodes, doubts: Doubts, elsewhere: Nodes
) -> Asked:
    host = question.domain or ""
    if not is_host(host):
        raise question.wrong(
            f"--domain {host!r} is no host: write one such as example.org, without scheme, path, port or user"
        )
    found, search = _sought(command, [domain(host)], nodes, doubts)
    by_id = []
    if not found.num_found:
        by_id = [host] if _begin_by_ids(command, [domain(host)], elsewhere, nodes, found).num_found else []
    if not found.num_found and not by_id and not doubts.reasons:
        raise BadCommandError(f"no URL in a table is on {host}", then="neo list")
    document = {**_counted({"domain": host}, found), "elsewhere": by_id}
    return Asked(found, f"{host} and the hosts below it", document, doubts, elsewhere=by_id,
                 unindexed=search.unindexed)  # fmt: skip


def _by_source(question: TypedQuestion, source: str, nodes: Nodes, doubts: Doubts) -> Asked:
    known = sorted(asked.sources_of(nodes))
    if source not in known:
        raise question.wrong(
            f"--source {source}: there is no such source{suggestion(source, known)}; "
            f"sources: {', '.join(known[:MAX_CANDIDATES]) or 'none'}"
        )
    found = asked.of_source(nodes, source)
    if question.verb == "neo exposure" and not any(nodes[short].kind not in USERS for short in found.holds):
        raise _without_samples(f"--source {source}", next(iter(found.holds)), nodes)
    return Asked(found, f"all of source {source}", {"asked": {"source": source}}, doubts)


def _by_reason(question: TypedQuestion, reason: str, nodes: Nodes, doubts: Doubts) -> Asked:
    known = sorted(asked.reasons_of(nodes))
    if reason not in known:
        raise question.wrong(
            f"--reason {reason}: no step judged anything so{suggestion(reason, known)}; "
            f"verdicts and reasons: {', '.join(known)}"
        )
    found = asked.of_reason(nodes, reason, doubts)
    return Asked(found, f"samples that were judged {reason}", _counted({"reason": reason}, found), doubts)


def _by_maker(question: TypedQuestion, maker: str, nodes: Nodes, doubts: Doubts) -> Asked:
    chosen = asked.of_makers(nodes, maker)
    if not chosen:
        known = sorted(asked.makers_of(nodes))
        raise question.wrong(
            f"--made-by {maker}: no artifact was made by it{suggestion(maker, known)}; write a stage such as "
            "filter_pairs@2 with its number, code=DIGEST of a stage of your own, or a package such as pillow==11.0.0"
        )
    shorts = [node.short for node in chosen]
    title = f"what {maker} made: {first_few(shorts, MAX_CANDIDATES)}"
    return Asked(asked.of_artifacts(chosen), title, {"asked": {"made_by": maker, "artifacts": shorts}}, doubts)


def _by_artifact(store: Store, question: TypedQuestion, ref: str, nodes: Nodes, doubts: Doubts) -> Asked:
    stage, fingerprint = resolve_artifact(store, ref)
    short = f"{stage}/{fingerprint[:SHOWN_DIGITS]}"
    node = nodes.get(short)
    if node is None or node.head is None:
        raise question.wrong(f"--of {ref}: {short} cannot be read{f': {node.why_no_head}' if node else ''}")
    if question.verb == "neo exposure" and node.kind in USERS:
        raise _without_samples(f"--of {ref}", short, nodes)
    document = {"asked": {"artifact": short, **({"parts": list(question.parts)} if question.parts else {})}}
    if not question.parts:
        return Asked(asked.of_artifacts([node]), f"all of {short}", document, doubts)
    return Asked(
        _parts_of(question, node, nodes, doubts),
        f"part{'s' if len(question.parts) > 1 else ''} {', '.join(question.parts)} of {short}",
        document,
        doubts,
    )


def _without_samples(typed: str, short: str, nodes: Nodes) -> BadCommandError:
    """The error for what was typed, where it holds no samples that could be counted."""
    why = f"{typed}: {short} holds {nodes[short].kind}, which has no samples that weights could have seen"
    return BadCommandError(f"{why}; `neo impact` says what was made of it", then=f"neo impact --of {short}")


def _parts_of(question: TypedQuestion, node: Node, nodes: Nodes, doubts: Doubts) -> Beginnings:
    assert node.head is not None
    if node.kind not in asked.PARTS_FILES:
        raise question.wrong(f"--part: {node.short} holds {node.kind}, which has no parts with samples of their own")
    known = asked.part_names(node)
    for part in question.parts:
        if part not in known:
            raise question.wrong(
                f"--part {part}: {node.short} has no such part{suggestion(part, known)}; "
                f"parts: {', '.join(known[:MAX_CANDIDATES])}{' ...' if len(known) > MAX_CANDIDATES else ''}"
            )
    return asked.of_part(nodes, node, question.parts, doubts)


def _sought(
    command: CommandContext, soughts: Sequence[Sought], nodes: Nodes, doubts: Doubts, *, keeps_values: bool = False
) -> tuple[Beginnings, Search]:
    search = Search(lambda head: tell_reading(command, head, head.short), command.warnings.warn)
    return asked.of_soughts(nodes, soughts, search, doubts, keeps_values=keeps_values), search


def _lines_of(question: TypedQuestion, path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_bytes().decode("utf-8-sig", "replace").splitlines()]
    except OSError as error:
        raise question.wrong(f"{path} cannot be read: {error.strerror}") from error


def _counted(asked_about: Mapping[str, str], found: Beginnings) -> dict[str, Any]:
    return {"asked": dict(asked_about), "num_kept": found.num_kept, "not_kept": found.verdicts}


def _not_there(question: TypedQuestion, lines: Sequence[str]) -> str:
    if question.listed is not None:
        return f"none of the {len(lines):,} lines of {question.listed} names a sample in a table"
    few = f"; a sample id has {2 * SAMPLE_ID_BYTES} digits, all of which are needed here"
    return f"no table has {lines[0]}, as URL, name or sample id{few if ID_START.fullmatch(lines[0]) else ''}"
