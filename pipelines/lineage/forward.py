"""Lineage forward: every artifact that one sample went into, up to the optimizer steps and models that saw it.

Owns the walk from the artifacts where samples begin to the artifacts that read them; `finders.py` finds a sample in one
artifact. A sample is identified by its id, or by the URL or reference of its picture or video.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from pipelines.lineage.finders import FINDERS, NAMED, SOURCE_TABLES, find_in_source, find_in_use_of_model, tables
from pipelines.lineage.sightings import Carryover, Sighting
from stages.artifacts.artifact import Artifact
from stages.artifacts.head import ManifestHead
from stages.formats.kept_rows import NAME_COLUMNS
from stages.formats.sample_table import SAMPLE_ID_BYTES
from stages.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

FindInSource: TypeAlias = Callable[[Artifact], Sighting | None]
"""Finds the sample in an artifact where samples begin."""


def trace_url(store: Store, url: str, among: Iterable[ManifestHead]) -> list[Sighting]:
    """The sightings of a picture or video by its URL or reference, inputs before what reads them; maybe none.

    A video is followed in all clips that were cut from it.
    """
    return _follow(store, among, dict.fromkeys(NAMED, partial(find_in_source, columns=NAME_COLUMNS, value=url)))


def trace_sample(store: Store, sample_id: bytes, among: Iterable[ManifestHead]) -> list[Sighting]:
    """The sightings of a pair, a clip, a text or a conversation by its id, inputs before what reads them."""
    find = partial(find_in_source, columns=["sample_id"], value=sample_id)
    return _follow(store, among, dict.fromkeys(SOURCE_TABLES, find))


def find_samples(store: Store, id_start: str, among: Iterable[ManifestHead]) -> set[bytes]:
    """The ids of all samples among these artifacts whose hex digits begin with `id_start`."""
    sources = (head for head in among if head.kind in SOURCE_TABLES)
    matches = (
        beginning_with(table["sample_id"], id_start)
        for head in sources
        for _, table in tables(Artifact(store, head), SOURCE_TABLES[head.kind], columns=["sample_id"])
    )
    return set().union(*matches)


def beginning_with(sample_ids: pa.ChunkedArray, id_start: str) -> set[bytes]:
    """The ids of a column whose hex digits begin with `id_start`."""
    import numpy as np

    # "3f2" gives the bounds 3f2000... and 3f2fff...; an odd number of digits therefore needs no special case.
    low, high = (bytes.fromhex(id_start.ljust(2 * SAMPLE_ID_BYTES, digit)) for digit in "0f")
    ids = np.array(sample_ids.to_pylist(), f"S{SAMPLE_ID_BYTES}")
    return set(sample_ids.filter((ids >= np.bytes_(low)) & (ids <= np.bytes_(high))).to_pylist())


def _follow(store: Store, among: Iterable[ManifestHead], sources: Mapping[str, FindInSource]) -> list[Sighting]:
    """Search each artifact, inputs first, for what its inputs hand on of the sample.

    An artifact without a sighting hands on nothing: the artifacts that read only such ones are not opened at all.
    """
    sightings: dict[str, Sighting] = {}
    for head in _inputs_first(among):
        artifact = Artifact(store, head)
        sighting = sources[head.kind](artifact) if head.kind in sources else None
        if sighting is None:
            sighting = _find_by_inputs(artifact, sightings)
        if sighting is not None:
            sightings[head.fingerprint] = sighting
    return list(sightings.values())


def _find_by_inputs(artifact: Artifact, sightings: Mapping[str, Sighting]) -> Sighting | None:
    """The sighting in an artifact whose inputs hand on something of the sample, else None."""
    inputs: dict[str, Carryover] = {
        name: sightings[item.fingerprint].carryover
        for name, item in artifact.head.inputs.items()
        if item.fingerprint in sightings
    }
    if not any(inputs.values()):
        return None
    return FINDERS.get(artifact.head.kind, find_in_use_of_model)(artifact, inputs)


def _inputs_first(heads: Iterable[ManifestHead]) -> Iterator[ManifestHead]:
    """The heads ordered so that each comes after those of its inputs."""
    waiting = {head.fingerprint: head for head in heads}

    def visit(fingerprint: str) -> Iterator[ManifestHead]:
        head = waiting.pop(fingerprint, None)
        if head is not None:
            for item in head.inputs.values():
                yield from visit(item.fingerprint)
            yield head

    for fingerprint in list(waiting):
        yield from visit(fingerprint)
