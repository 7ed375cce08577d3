"""Lineage forward: what one sample came to, from its verdict to the training steps and the models that saw it.

Read from the store alone: sample tables say what became of it, draws hold sample ids, rows know theirs by an index, and
which optimizer steps take a row is computed, as training computed it. A sample is known by its id, or by its URL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import BaseModel, ConfigDict

from pipelines.lineage.graph import step_name
from pipelines.lineage.sightings import LOOKS, NOTHING, SOURCE_TABLES, Held, Traced, in_source, in_weights, tables
from stages.artifacts.artifact import Artifact
from stages.artifacts.manifest import Manifest
from stages.formats.sample_table import SAMPLE_ID_BYTES
from stages.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa


class Sighting(BaseModel):
    """What one artifact holds of the sample."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: str
    stage: str
    fingerprint: str
    kind: str
    said: str
    """For people."""
    details: dict[str, Any] = {}
    """For machines."""


Begin: TypeAlias = Callable[[Artifact], Traced]
"""Looks for the sample where samples begin."""


def trace_url(store: Store, url: str, among: Iterable[Manifest]) -> list[Sighting]:
    """What the URL went into among these artifacts, inputs before what reads them; empty if no table has it."""
    return _followed(store, among, {"RawPairs": partial(in_source, column="url", value=url)})


def trace_sample(store: Store, sample_id: bytes, among: Iterable[Manifest]) -> list[Sighting]:
    """The same of a sample that is known by its id: a pair, a text or a conversation."""
    begin = partial(in_source, column="sample_id", value=sample_id)
    return _followed(store, among, dict.fromkeys(SOURCE_TABLES, begin))


def find_samples(store: Store, id_start: str, among: Iterable[Manifest]) -> set[bytes]:
    """The ids, in the tables where samples begin, whose hex digits begin so."""
    sources = (manifest for manifest in among if manifest.kind in SOURCE_TABLES)
    found = (
        beginning_with(table["sample_id"], id_start)
        for manifest in sources
        for _, table in tables(Artifact(store, manifest), SOURCE_TABLES[manifest.kind], columns=["sample_id"])
    )
    return set().union(*found)


def beginning_with(sample_ids: pa.ChunkedArray, id_start: str) -> set[bytes]:
    """Those of a column of sample ids whose hex digits begin so."""
    import numpy as np

    low, high = (bytes.fromhex(id_start.ljust(2 * SAMPLE_ID_BYTES, digit)) for digit in "0f")
    ids = np.array(sample_ids.to_pylist(), f"S{SAMPLE_ID_BYTES}")
    return set(sample_ids.filter((ids >= np.bytes_(low)) & (ids <= np.bytes_(high))).to_pylist())


def _followed(store: Store, among: Iterable[Manifest], begins: Mapping[str, Begin]) -> list[Sighting]:
    sightings: list[Sighting] = []
    held: dict[str, Held] = {}
    for manifest in _ordered(among):
        artifact = Artifact(store, manifest)
        inputs = {name: held[item.fingerprint] for name, item in manifest.inputs.items() if item.fingerprint in held}
        said, details, kept = begins[manifest.kind](artifact) if manifest.kind in begins else NOTHING
        if not said and any(inputs.values()):
            said, details, kept = LOOKS.get(manifest.kind, in_weights)(artifact, inputs)
        if said:
            held[manifest.fingerprint] = kept
            sightings.append(
                Sighting(
                    step=step_name(manifest),
                    stage=manifest.stage,
                    fingerprint=manifest.fingerprint,
                    kind=manifest.kind,
                    said=said,
                    details=details,
                )
            )
    return sightings


def _ordered(manifests: Iterable[Manifest]) -> Iterator[Manifest]:
    """Inputs before what reads them."""
    waiting = {manifest.fingerprint: manifest for manifest in manifests}

    def visit(fingerprint: str) -> Iterator[Manifest]:
        manifest = waiting.pop(fingerprint, None)
        if manifest is not None:
            for item in manifest.inputs.values():
                yield from visit(item.fingerprint)
            yield manifest

    for fingerprint in list(waiting):
        yield from visit(fingerprint)
