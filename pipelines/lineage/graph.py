"""Lineage backward: from an artifact to every artifact it was made from, down to the URL tables.

Owns the graph of an artifact's ancestors. Reads heads alone: no data, and no manifest unless somebody asks for one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from stages.artifacts.artifact import Artifact
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import ManifestHead, read_head
from stages.artifacts.manifest import Manifest, ManifestFields, artifact_folder, read_manifest
from stages.artifacts.records import EXAMINED_FACT
from stages.contract import Fork, fork_of
from stages.store.errors import StoreError
from stages.store.store import Store


@dataclass(frozen=True)
class Node:
    """One artifact of a lineage. `head` is None where the store no longer holds it, or its manifest cannot be read."""

    store: Store
    stage: str
    fingerprint: str
    head: ManifestHead | None
    why_no_head: str = ""
    """Why neither the head nor the manifest could be read; '' with a head."""

    @property
    def problem(self) -> str:
        """Why the manifest cannot be read; '' if it can."""
        return self.why_no_head or self._read[1]

    @property
    def manifest(self) -> Manifest | None:
        """The whole manifest, read when it is first asked for and kept: many MB. None where it cannot be read."""
        return self._read[0]

    @cached_property
    def _read(self) -> tuple[Manifest | None, str]:
        try:
            manifest = read_manifest(self.store, self.stage, self.fingerprint)
        except (StoreError, ValueError) as error:
            return None, str(error)
        return manifest, "" if manifest else _missing(self.stage, self.fingerprint)

    @property
    def short(self) -> str:
        """Stage and shown digits of the fingerprint, such as `pack_rows/3f2a9c01d4e5`."""
        return f"{self.stage}/{self.fingerprint[:SHOWN_DIGITS]}"

    @property
    def is_absent(self) -> bool:
        """Whether there is no manifest at all: the artifact was never committed, or is gone."""
        return self.head is None and self.why_no_head == _missing(self.stage, self.fingerprint)

    @property
    def step(self) -> str:
        """The step that made the artifact, as its pipeline calls it."""
        return step_name(self.head) if self.head else "?"

    @property
    def kind(self) -> str:
        """The kind of the artifact, such as `Rows`, or `missing`."""
        return self.head.kind if self.head else "missing"

    @property
    def inputs(self) -> dict[str, str]:
        """Input name to the whole fingerprint of what was read."""
        return {name: item.fingerprint for name, item in self.head.inputs.items()} if self.head else {}

    @property
    def outside(self) -> dict[str, dict[str, Any]]:
        """The sources that the step read: name to place, URIs, digest, number of files, size in bytes."""
        return self.head.provenance.get("sources", {}) if self.head else {}


@dataclass(frozen=True)
class Lineage:
    """An artifact and all its ancestors: the nodes in topological order, each after its inputs."""

    nodes: tuple[Node, ...]

    @cached_property
    def by_fingerprint(self) -> dict[str, Node]:
        """The nodes by whole fingerprint."""
        return {node.fingerprint: node for node in self.nodes}

    @property
    def target(self) -> Node:
        """The artifact whose lineage this is."""
        return self.nodes[-1]

    @property
    def sources(self) -> tuple[Node, ...]:
        """The artifacts through which external data entered: those that read a source, or have no inputs."""
        return tuple(node for node in self.nodes if node.outside or not node.inputs)

    @property
    def missing(self) -> tuple[Node, ...]:
        """The nodes whose manifest cannot be read."""
        return tuple(node for node in self.nodes if node.head is None)

    @cached_property
    def origins(self) -> dict[str, Fork]:
        """Fingerprint of each fork to the checkpoint that it began from, and of that training to its own, and so on."""
        found = {node.fingerprint: fork_of(node.head) for node in self.nodes if node.head is not None}
        origins = {fingerprint: fork for fingerprint, fork in found.items() if fork is not None}
        waiting = list(origins.values())
        while waiting:
            fork = waiting.pop()
            if fork.begun_from is not None and fork.fingerprint not in origins:
                origins[fork.fingerprint] = fork.begun_from
                waiting.append(fork.begun_from)
        return origins

    @property
    def begun_from(self) -> dict[str, Fork]:
        """The trainings that others began from and that are no nodes: fingerprint to its newest checkpoint in use.

        They need not be finished.
        """
        forks = sorted(self.origins.values(), key=lambda fork: fork.at_step)
        return {fork.fingerprint: fork for fork in forks if fork.fingerprint not in self.by_fingerprint}

    @cached_property
    def reads(self) -> dict[str, list[str]]:
        """What is drawn: each node, and each training that one began from, with what it was made of, inputs first."""
        reads = {node.fingerprint: [*node.inputs.values()] for node in self.nodes}
        for fingerprint, fork in self.begun_from.items():
            made_of = (item.fingerprint for item in fork.inputs.values())
            reads[fingerprint] = [one for one in made_of if one in self.by_fingerprint]
        for fingerprint, fork in self.origins.items():
            reads[fingerprint].append(fork.fingerprint)
        ordered: dict[str, list[str]] = {}
        for fingerprint in reads:
            _order(reads, fingerprint, ordered)
        return ordered

    @property
    def without_head(self) -> tuple[Node, ...]:
        """The nodes whose head had to be computed from the manifest; `head.problem` says why."""
        return tuple(node for node in self.nodes if node.head is not None and node.head.problem)


def lineage_of(store: Store, stage: str, fingerprint: str) -> Lineage:
    """The whole lineage of an artifact. An ancestor that is missing from the store is a node without a head.

    Inputs are read together with all others of their distance from the target, many at a time.
    """
    read: dict[str, Node] = {}
    wanted = {fingerprint: (stage, fingerprint)}
    while wanted:
        nodes = store.each(lambda named: _node(store, *named), list(wanted.values()))
        read |= {node.fingerprint: node for node in nodes}
        inputs = (item for node in nodes if node.head is not None for item in node.head.inputs.values())
        wanted = {item.fingerprint: (item.stage, item.fingerprint) for item in inputs if item.fingerprint not in read}
    return Lineage(inputs_first(read, [fingerprint]))


def inputs_first(nodes: Mapping[str, Node], starts: Iterable[str]) -> tuple[Node, ...]:
    """The artifacts `starts` and all that they were made of, of those in `nodes`, each after its inputs. Both are by
    fingerprint.
    """
    ordered: dict[str, Node] = {}

    def visit(fingerprint: str) -> None:
        if fingerprint not in ordered and fingerprint in nodes:
            for one in nodes[fingerprint].inputs.values():
                visit(one)
            ordered[fingerprint] = nodes[fingerprint]

    for start in starts:
        visit(start)
    return tuple(ordered.values())


def all_heads(store: Store) -> Iterator[ManifestHead]:
    """The head of every artifact in the store that can be read, by stage. Costs a listing a stage and a few KB each."""
    return (node.head for node in all_nodes(store) if node.head is not None)


def all_nodes(store: Store) -> Iterator[Node]:
    """Every artifact in the store by stage, also those that are not committed or cannot be read, without a head. Costs
    as much as `all_heads`.
    """
    for stage in store.folders("artifacts/"):
        names = [(stage, name) for name in store.folders(f"artifacts/{stage}/")]
        yield from store.each(lambda named: _node(store, *named), names)


def step_name(known: ManifestFields) -> str:
    """The step that made an artifact, as its pipeline calls it; its stage where that is not recorded."""
    return str(known.provenance.get("step", known.stage))


def describe_counts(head: ManifestHead) -> str:
    """What an artifact holds, in words: `2 parts, 40 items, 38 kept, 2 dropped`, or `step 300` for a checkpoint."""
    if head.at_step is not None:
        lacking = [(head.num_skipped_rows, "damaged row"), (head.num_skipped_steps, "step")]
        words = (f", {number:,} {what}{'' if number == 1 else 's'} left out" for number, what in lacking if number)
        return "".join((f"step {head.at_step}", *words))
    items, num_parts = head.items, head.last_phase.num_parts
    phrases = [f"{num_parts} part{'' if num_parts == 1 else 's'}"]
    if items.total:
        phrases.append(f"{items.total:,} item{'' if items.total == 1 else 's'}")
        phrases.append(f"{items.kept:,} kept")
        phrases += [f"{items.num_dropped:,} dropped"] if items.num_dropped else []
        phrases += [f"{items.num_failed:,} failed"] if items.num_failed else []
    return ", ".join(phrases)


def describe_source(source: Mapping[str, Any]) -> str:
    """Where a source lay when it was read, and how much it was, in words."""
    num_files = source["num_files"]
    files = f"{num_files:,} file{'' if num_files == 1 else 's'}"
    return f"{source['place']} ({files}, {source['size_bytes']:,} bytes, digest {source['digest'][:SHOWN_DIGITS]})"


def best_examined(artifact: Artifact) -> dict[str, Any] | None:
    """`step` and `loss` of the state that was the best on the held-out rows examined last; None where none was."""
    if artifact.head.at_step is None:
        return None
    facts = artifact.manifest.parts[-1].facts
    best = (facts.get(EXAMINED_FACT) or facts).get("best")
    return {"step": best["step"], "loss": best.get("loss", best.get("heldout_loss"))} if best else None


def skipped_row_records(artifact: Artifact) -> list[dict[str, Any]]:
    """The damaged rows that training skipped, from the last checkpoint: step, part, row and sample ids of each."""
    if not artifact.head.num_skipped_rows:
        return []
    skipped: list[dict[str, Any]] = artifact.manifest.parts[-1].facts["skipped"]
    return skipped


def skipped_step_records(artifact: Artifact) -> list[dict[str, Any]]:
    """The steps that training left out as a whole, from the last checkpoint: step, reason, by whom and when."""
    if not artifact.head.num_skipped_steps:
        return []
    skipped: list[dict[str, Any]] = artifact.manifest.parts[-1].facts["skipped_steps"]
    return skipped


def _order(reads: Mapping[str, list[str]], fingerprint: str, ordered: dict[str, list[str]]) -> None:
    """Add what is drawn for an artifact to `ordered`, after what it reads."""
    if fingerprint not in ordered:
        inputs = list(dict.fromkeys(reads[fingerprint]))
        for one in inputs:
            _order(reads, one, ordered)
        ordered[fingerprint] = inputs


def _node(store: Store, stage: str, fingerprint: str) -> Node:
    """The artifact as a node; its `problem` says why it has no head."""
    try:
        head = read_head(store, stage, fingerprint)
    except (StoreError, ValueError) as error:
        return Node(store, stage, fingerprint, None, str(error))
    return Node(store, stage, fingerprint, head, "" if head else _missing(stage, fingerprint))


def _missing(stage: str, fingerprint: str) -> str:
    return f"{artifact_folder(stage, fingerprint)}/manifest.json is missing"
