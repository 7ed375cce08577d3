"""Lineage backward: from an artifact to every artifact it was made from, down to the URL tables.

Owns the graph of an artifact's ancestors. Reads manifests alone, no data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.manifest import Manifest, artifact_folder, read_manifest
from stages.artifacts.records import STEPS_PHASE, PartRecord
from stages.store.errors import StoreError
from stages.store.store import Store


@dataclass(frozen=True)
class Node:
    """One artifact of a lineage. `manifest` is None where the store no longer holds it."""

    stage: str
    fingerprint: str
    manifest: Manifest | None
    problem: str = ""
    """Why the manifest could not be read."""

    @property
    def short(self) -> str:
        """Stage and shown digits of the fingerprint, such as `pack_rows/3f2a9c01d4e5`."""
        return f"{self.stage}/{self.fingerprint[:SHOWN_DIGITS]}"

    @property
    def step(self) -> str:
        """The step that made the artifact, as its pipeline calls it."""
        return step_name(self.manifest) if self.manifest else "?"

    @property
    def kind(self) -> str:
        """The kind of the artifact, such as `Rows`, or `missing`."""
        return self.manifest.kind if self.manifest else "missing"

    @property
    def inputs(self) -> dict[str, str]:
        """Input name to the whole fingerprint of what was read."""
        return {name: item.fingerprint for name, item in self.manifest.inputs.items()} if self.manifest else {}


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
        """The artifacts without inputs, through which external data entered."""
        return tuple(node for node in self.nodes if not node.inputs)

    @property
    def missing(self) -> tuple[Node, ...]:
        """The nodes whose manifest cannot be read."""
        return tuple(node for node in self.nodes if node.manifest is None)


def lineage_of(store: Store, stage: str, fingerprint: str) -> Lineage:
    """The whole lineage of an artifact. An ancestor that is missing from the store is a node without a manifest."""
    nodes: dict[str, Node] = {}
    _visit(store, stage, fingerprint, nodes)
    return Lineage(tuple(nodes.values()))


def all_manifests(store: Store) -> Iterator[Manifest]:
    """Every manifest in the store that can be read, by stage. Costs a listing a stage and a read an artifact."""
    for stage in store.folders("artifacts/"):
        for name in store.folders(f"artifacts/{stage}/"):
            node = _node(store, stage, name)
            if node.manifest is not None:
                yield node.manifest


def step_name(manifest: Manifest) -> str:
    """The step that made an artifact, as its pipeline calls it; its stage where that is not recorded."""
    return str(manifest.provenance.get("step", manifest.stage))


def size_bytes(manifest: Manifest) -> int:
    """Bytes of all files that a manifest names."""
    return sum(entry.size_bytes for part in manifest.parts for entry in part.files)


def last_phase(manifest: Manifest) -> tuple[PartRecord, ...]:
    """The parts of the last phase, whose items the manifest counts.

    `pack_rows` measures, plans and then writes rows: its items are those of the parts that hold rows.
    """
    last = manifest.parts[-1].phase
    return tuple(part for part in manifest.parts if part.phase == last)


def describe_counts(manifest: Manifest) -> str:
    """What an artifact holds, in words: `2 parts, 40 items, 38 kept, 2 dropped`, or `step 300` for a checkpoint."""
    parts = last_phase(manifest)
    if parts[-1].phase == STEPS_PHASE:
        num_skipped = len(skipped_row_records(manifest))
        lacking = f", {num_skipped:,} damaged row{'' if num_skipped == 1 else 's'} left out" if num_skipped else ""
        return f"step {parts[-1].facts['step']}{lacking}"
    items = manifest.items
    phrases = [f"{len(parts)} part{'' if len(parts) == 1 else 's'}"]
    if items.total:
        phrases.append(f"{items.total:,} item{'' if items.total == 1 else 's'}")
        phrases.append(f"{items.kept:,} kept")
        phrases += [f"{items.num_dropped:,} dropped"] if items.num_dropped else []
        phrases += [f"{items.num_failed:,} failed"] if items.num_failed else []
    return ", ".join(phrases)


def skipped_row_records(manifest: Manifest) -> list[dict[str, Any]]:
    """The damaged rows that training skipped, from the last checkpoint: step, part, row and sample ids of each."""
    skipped: list[dict[str, Any]] = last_phase(manifest)[-1].facts.get("skipped", [])
    return skipped


def _visit(store: Store, stage: str, fingerprint: str, visited: dict[str, Node]) -> None:
    """Add an artifact to `visited`, after its ancestors."""
    if fingerprint in visited:
        return
    node = _node(store, stage, fingerprint)
    if node.manifest is not None:
        for item in node.manifest.inputs.values():
            _visit(store, item.stage, item.fingerprint, visited)
    visited[fingerprint] = node


def _node(store: Store, stage: str, fingerprint: str) -> Node:
    """The artifact as a node; its `problem` says why it has no manifest."""
    try:
        manifest = read_manifest(store, stage, fingerprint)
    except (StoreError, ValueError) as error:
        return Node(stage, fingerprint, None, str(error))
    problem = "" if manifest else f"{artifact_folder(stage, fingerprint)}/manifest.json is missing"
    return Node(stage, fingerprint, manifest, problem)
