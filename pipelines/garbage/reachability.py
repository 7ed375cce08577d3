"""Which artifacts something leads to: a frozen plan, a name, or what was made of them.

Reads plans, the newest version of each name, and heads, each once. `refresh` reads what is new, so that it can be asked
again while runs begin. Time and memory grow with runs and artifacts, not with parts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import TypeAlias

from pipelines.garbage.forgotten import forgotten_runs
from pipelines.planning.request import FROZEN_PLAN, NO_FINGERPRINT, FrozenStep
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import ManifestHead, head_of, read_head
from stages.artifacts.manifest import artifact_folder, manifest_key
from stages.artifacts.records import INPUT_RECORDS, InputRecord
from stages.commit.checkpoints import FORK_RECORD
from stages.contract import Fork, fork_of
from stages.store.errors import TornRecordError
from stages.store.numbering import first_missing
from stages.store.refs import read_ref
from stages.store.store import Store

ASIDE = "collected"
"""Word in the key of a manifest that was quarantined to be deleted."""
ArtifactName: TypeAlias = tuple[str, str]
"""Stage and shown digits of the fingerprint, as in the artifact's folder."""


def name_of(stage: str, fingerprint: str) -> ArtifactName:
    """The name of an artifact."""
    return stage, fingerprint[:SHOWN_DIGITS]


class Reachability:
    """What is reached from all runs but those that are forgotten, from all names, and from `keep`."""

    def __init__(self, store: Store, keep: Iterable[ArtifactName] = (), forgotten: Collection[str] = ()) -> None:
        """`forgotten` are runs that are about to be forgotten. Nothing is read before `refresh`."""
        self.to_forget = frozenset(forgotten)
        self.lends_parts: set[ArtifactName] = set()
        """Artifacts of which others hold parts by reference."""
        self.runs: set[str] = set()
        """Runs whose plans were read."""
        self.earlier = defaultdict[ArtifactName, set[ArtifactName]](set)
        """Artifact to those of which its step may take parts over while it is not committed, as the plans say."""
        self._store = store
        self._reached: set[ArtifactName] = set()
        self._waiting: list[ArtifactName] = list(keep)
        self._versions: dict[str, int] = {}

    def __contains__(self, name: ArtifactName) -> bool:
        """Whether something led to an artifact when it was last asked."""
        return name in self._reached

    def __iter__(self) -> Iterator[ArtifactName]:
        """The artifacts that something leads to, missing ones among them."""
        return iter(sorted(self._reached))

    def refresh(self) -> None:
        """Read the runs and names that are new, and all that they lead to.

        Raises `TornRecordError` where a plan, or a manifest that is needed, cannot be read.
        """
        forgotten = self.to_forget | forgotten_runs(self._store)
        for run in self._store.folders("runs/"):
            if run not in self.runs and run not in forgotten:
                self._read_run(run)
        self._read_names()
        self._walk()

    def add_run(self, run: str) -> None:
        """What one run leads to, forgotten or not."""
        self._read_run(run)
        self._walk()

    def keep(self, names: Iterable[ArtifactName]) -> None:
        """From here on these stay, and with them all that they were made of. Raises like `refresh`."""
        self._waiting += names
        self._walk()

    def children_first(self, names: Iterable[ArtifactName]) -> list[ArtifactName]:
        """These artifacts, each before what it was made of and before those of which it took parts over."""
        wanted, ordered, lends_parts = set(names), list[ArtifactName](), set(self.lends_parts)
        waiting = [(name, False) for name in sorted(wanted)]
        seen = set[ArtifactName]()
        while waiting:
            name, is_left = waiting.pop()
            if is_left:
                ordered.append(name)  # after all that it leads to
            elif name not in seen:
                seen.add(name)
                waiting.append((name, True))
                waiting += [(one, False) for one in self._known_edges(name) if one in wanted]
        self.lends_parts = lends_parts  # what is about to be deleted borrows nothing
        return ordered[::-1]

    def _known_edges(self, name: ArtifactName) -> list[ArtifactName]:
        """What an artifact leads to as far as it can be read: one that is damaged may be deleted, too."""
        for edges in (self._edges, self._edges_of_unfinished):
            with suppress(TornRecordError):
                return list(edges(name))
        return []

    def _read_run(self, run: str) -> None:
        request = FROZEN_PLAN.read(self._store, f"runs/{run}/plan.json")
        if request is None:  # not written yet
            return
        for step in request.steps:
            if step.fingerprint != NO_FINGERPRINT:
                self._waiting += self._of_step(step)
                self.earlier[name_of(step.stage, step.fingerprint)] |= {
                    name_of(step.stage, one) for one in step.earlier
                }
        self.runs.add(run)

    def _of_step(self, step: FrozenStep) -> Iterator[ArtifactName]:
        """What a step makes, and what it may come to lean on while it is not committed."""
        yield name_of(step.stage, step.fingerprint)
        yield from self._of_fork(step.fork)
        if self._store.size_bytes(manifest_key(step.stage, step.fingerprint)) is None:
            earlier = [name_of(step.stage, one) for one in step.earlier]
            self.lends_parts.update(earlier)
            yield from earlier

    def _read_names(self) -> None:
        newest: dict[str, int] = {}
        for key in self._store.keys("refs/"):
            name, _, file = key.removeprefix("refs/").rpartition("/")
            version = file.removesuffix(".json")
            if version.isdigit():
                newest[name] = max(newest.get(name, -1), int(version))
        for name, number in newest.items():
            if self._versions.get(name) != number:
                ref = read_ref(self._store, name) or {}
                if "stage" in ref and "fingerprint" in ref:
                    self._waiting.append(name_of(ref["stage"], ref["fingerprint"]))
                self._versions[name] = number

    def _walk(self) -> None:
        while self._waiting:
            name = self._waiting.pop()
            if name not in self._reached:
                self._reached.add(name)
                self._waiting += self._edges(name)

    def _edges(self, name: ArtifactName) -> Iterator[ArtifactName]:
        """What an artifact was made of, or is being made of."""
        head = read_head(self._store, *name) or _quarantined_head(self._store, name)
        if head is None:
            yield from self._edges_of_unfinished(name)
            return
        yield from _named(head.inputs.values())
        yield from self._of_fork(fork_of(head))
        lenders = lenders_of(head)
        self.lends_parts.update(lenders)
        yield from lenders

    def _edges_of_unfinished(self, name: ArtifactName) -> Iterator[ArtifactName]:
        folder, earlier = artifact_folder(*name), self.earlier.get(name, set())
        self.lends_parts.update(earlier)
        yield from earlier
        recorded = [f"{folder}/inputs.json", *self._store.keys(f"{folder}/conduct_inputs/")]
        for key in recorded:
            if key.endswith(".json"):
                yield from _named((INPUT_RECORDS.read(self._store, key) or {}).values())
        begun = FORK_RECORD.read(self._store, f"{folder}/fork.json")
        yield from self._of_fork(begun.fork if begun is not None else None)

    def _of_fork(self, fork: Fork | None) -> Iterator[ArtifactName]:
        """The trainings whose checkpoints one begins from, and what they had read until then."""
        while fork is not None:
            name = name_of(fork.stage, fork.fingerprint)
            self.lends_parts.add(name)
            yield name
            yield from _named(fork.inputs.values())
            fork = fork.begun_from


def _named(inputs: Iterable[InputRecord]) -> Iterator[ArtifactName]:
    return (name_of(item.stage, item.fingerprint) for item in inputs)


def _quarantined_head(store: Store, name: ArtifactName) -> ManifestHead | None:
    """The head of an artifact whose manifest was quarantined to be deleted; None where none was, or it is damaged."""
    key = f"{manifest_key(*name)}.{ASIDE}-"
    number = first_missing(lambda number: store.size_bytes(f"{key}{number}") is not None)
    data = store.read(f"{key}{number - 1}") if number else None
    try:
        return None if data is None else head_of(data)
    except ValueError:
        return None


def lenders_of(head: ManifestHead) -> list[ArtifactName]:
    """Artifacts in whose folders files of this one lie."""
    taken = (owner.partition("/")[::2] for owner in head.provenance.get("taken_over", ()))
    return [name_of(stage, fingerprint) for stage, fingerprint in taken]
