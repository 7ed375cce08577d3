"""What a takedown would change: the artifacts that hold something of it, and the models that descend from these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from pipelines.takedowns.held import Told, can_hold, held_parts
from stages.artifacts.head import ManifestHead
from stages.artifacts.kinds import Checkpoint, ExportedCheckpoint, PreBuffer
from stages.artifacts.taken_over import TAKEN_DOWN_FIELD
from stages.store.store import Store
from stages.takedowns.held_parts import HeldParts
from stages.takedowns.lists import digest_of

MODELS = (PreBuffer.kind, Checkpoint.kind, ExportedCheckpoint.kind)


@dataclass(frozen=True)
class Holder:
    """An artifact in which samples begin, and what it holds of a list."""

    head: ManifestHead
    held: HeldParts

    @property
    def step(self) -> str:
        """The step that made it."""
        return str(self.head.provenance.get("step", self.head.stage))

    @property
    def is_all(self) -> bool:
        """Whether everything that it keeps would go."""
        return 0 < self.held.num_kept == self.head.items.kept

    @property
    def is_rewritten(self) -> bool:
        """Whether its stage makes it again without them."""
        return TAKEN_DOWN_FIELD in self.head.recipe or self.head.stage in REWRITING


REWRITING = ("download_pairs", "retry_pairs", "import_pairs", "collect_images")
"""Stages that make their artifacts again without what is taken down; those of before have no such field."""


@dataclass(frozen=True)
class TakedownSurvey:
    """What a store holds of a list."""

    searched: tuple[Holder, ...]
    """What was looked through, also where nothing was found."""
    models: tuple[ManifestHead, ...]
    """Trained weights that were made, by way of others, of an artifact that holds something."""

    @cached_property
    def holders(self) -> tuple[Holder, ...]:
        """The artifacts that hold something, by name."""
        return tuple(sorted((one for one in self.searched if one.held.parts), key=lambda one: one.head.short))

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs that made an artifact which holds something, or a model of one."""
        heads = (*(one.head for one in self.holders), *self.models)
        return tuple(dict.fromkeys(str(head.provenance["run"]) for head in heads if "run" in head.provenance))


def survey(store: Store, typed: bytes, heads: Iterable[ManifestHead], tell: Told) -> TakedownSurvey:
    """What the artifacts with these heads hold of a list, given by its bytes. Memory grows with artifacts."""
    digest = digest_of(typed)
    known = {head.fingerprint: head for head in heads}
    searched = tuple(
        Holder(head, held_parts(store, digest, head, typed=typed, tell=tell))
        for head in known.values()
        if can_hold(head)
    )
    holding = {one.head.fingerprint for one in searched if one.held.parts}
    descendants: dict[str, ManifestHead] = {}
    for head in _behind_first(known):
        if any(item.fingerprint in holding or item.fingerprint in descendants for item in head.inputs.values()):
            descendants[head.fingerprint] = head
    return TakedownSurvey(searched, tuple(head for head in descendants.values() if head.kind in MODELS))


def _behind_first(known: dict[str, ManifestHead]) -> Iterator[ManifestHead]:
    """The artifacts, each after those that it was made of."""
    done = set[str]()

    def visit(fingerprint: str) -> Iterator[ManifestHead]:
        if fingerprint in done or fingerprint not in known:
            return
        done.add(fingerprint)
        for item in known[fingerprint].inputs.values():
            yield from visit(item.fingerprint)
        yield known[fingerprint]

    for fingerprint in known:
        yield from visit(fingerprint)
