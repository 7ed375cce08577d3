"""The lineage of an exported checkpoint: for the card its heads and uses, for programs the same as JSON.

Pure functions of the heads of artifacts: time and memory grow with the artifacts of a lineage, some dozens, not with
their rows or parts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from stages.artifacts.head import ManifestHead
from stages.artifacts.kinds import Draw
from stages.artifacts.learned import Use, learned_from, used_otherwise
from stages.exporting.card_metadata import Terms
from stages.exporting.lineage_file import described
from stages.exporting.scores import Measured


@dataclass(frozen=True)
class ExportLineage:
    """An exported checkpoint with all that it and its evaluations were made from."""

    chain: Sequence[ManifestHead]
    """The heads of all ancestors of the checkpoint, inputs before their readers; the checkpoint is the last."""
    examining: Sequence[ManifestHead] = ()
    """The heads of what evaluations of it read besides, in the same order, the evaluations themselves included."""
    measured: Sequence[Measured] = ()
    """The numbers of the evaluations."""
    grown_on: Mapping[str, Terms] = field(default_factory=dict)
    """Fingerprint of each model that was taken over from outside to the terms that its folder stated."""
    files_roots: Mapping[str, str] = field(default_factory=dict)
    """Fingerprint of each of them to the Merkle root over its files, where its head has none."""

    @property
    def checkpoint(self) -> ManifestHead:
        """The checkpoint that is exported."""
        return self.chain[-1]

    @property
    def heads(self) -> list[ManifestHead]:
        """All of them."""
        return [*self.chain, *self.examining]

    @cached_property
    def learned(self) -> frozenset[str]:
        """Fingerprints of what the checkpoint learned from."""
        return learned_from(self.chain, self.checkpoint.fingerprint)

    @cached_property
    def otherwise(self) -> Mapping[str, tuple[Use, ...]]:
        """Fingerprint to its uses, of what it was examined on, measured on or kept away from."""
        evaluations = {one.evaluation for one in self.measured}
        asked = [head for head in self.heads if head.fingerprint in evaluations]
        return used_otherwise(self.heads, self.checkpoint.fingerprint, asked)


def lineage_document(lineage: ExportLineage, files: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The lineage as plain JSON: for each artifact its stage, digests, roots, recipe, inputs, item balance and uses.

    `artifacts` begins with the first inputs and ends with the checkpoint; `evaluated` holds what evaluations read
    besides. `drawn` and `carried` are empty for all kinds but Draw. `files` are those beside the document: name, size
    and digest of each.
    """
    roots: dict[str, str] = {}
    return {
        "checkpoint": lineage.checkpoint.fingerprint,
        "artifacts": [_artifact(lineage, head, roots) for head in lineage.chain],
        "evaluated": [_artifact(lineage, head, roots) for head in lineage.examining],
        "scores": {
            one.name: {"evaluation": one.evaluation, "metrics": finite(one.numbers)} for one in lineage.measured
        },
        "files": list(files),
    }


def _artifact(lineage: ExportLineage, head: ManifestHead, roots: dict[str, str]) -> dict[str, Any]:
    """The entry of an artifact, whose root joins `roots`."""
    entry = described(head, lineage.files_roots.get(head.fingerprint, head.files_root), roots)
    roots[head.fingerprint] = entry["root"]
    return {
        **entry,
        "drawn": num_drawn_by_source(head),
        "carried": head.carried,
        "learned_from": head.fingerprint in lineage.learned,
        "used": [use.value for use in lineage.otherwise.get(head.fingerprint, ())],
    }


def finite(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics as JSON has them: what is not a number, or infinite, is null."""
    odd = {name for name, value in numbers.items() if isinstance(value, float) and not math.isfinite(value)}
    return {name: None if name in odd else value for name, value in numbers.items()}


def num_drawn_by_source(head: ManifestHead) -> dict[str, int]:
    """Drawings that a Draw made from each of its sources; empty for other kinds."""
    counts = head.sources if head.kind == Draw.kind else {}
    return {source: int(counted["drawn"]) for source, counted in counts.items()}
