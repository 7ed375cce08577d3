"""Lineage forward: every artifact that one sample went into, up to the optimizer steps and models that saw it.

Owns the walk from the artifacts where samples begin to the artifacts that read them; `finders.py` finds a sample in one
artifact. A sample is identified by its id, or by the URL or reference of its picture or video.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pipelines.indexes.look_up import Index
from pipelines.indexes.subjects import IDS, bytes_digest
from pipelines.indexes.tables import PartTable
from pipelines.lineage.finders import FINDERS, SOURCE_TABLES, find_in_source, find_in_use_of_model, with_given
from pipelines.lineage.sightings import Carryover, Sighting
from pipelines.lineage.sought import Search, Sought, names, sample_ids
from pipelines.lineage.table_rows import part_tables, tables_of
from stages.artifacts.artifact import Artifact
from stages.artifacts.head import ManifestHead
from stages.formats.sample_table import SAMPLE_ID_BYTES
from stages.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

MAX_PARTS_NAMED: Final = 64
"""Parts that are read to name the samples whose ids begin alike, at most: who typed few digits can type more."""


def trace_url(store: Store, url: str, among: Iterable[ManifestHead]) -> list[Sighting]:
    """The sightings of a picture or video by its URL or reference, inputs before what reads them; maybe none.

    A video is followed in all clips that were cut from it.
    """
    return follow(store, [names([url])], among, Search())


def trace_sample(store: Store, sample_id: bytes, among: Iterable[ManifestHead]) -> list[Sighting]:
    """The sightings of a pair, a clip, a text or a conversation by its id, inputs before what reads them."""
    return follow(store, [sample_ids([sample_id])], among, Search())


def find_samples(
    store: Store, id_start: str, among: Iterable[ManifestHead], search: Search | None = None
) -> set[bytes]:
    """The ids of all samples among these artifacts whose hex digits begin with `id_start`.

    By an index no more than `MAX_PARTS_NAMED` tables of an artifact are read; `search` counts the others.
    """
    found: set[bytes] = set()
    search = search or Search()
    for head in among:
        if head.kind in SOURCE_TABLES:
            artifact = Artifact(store, head)
            tables = tables_of(store, tables_beginning_with(artifact, id_start, search), ["sample_id"])
            for table in tables:
                found |= beginning_with(table["sample_id"], id_start)
    return found


def tables_beginning_with(artifact: Artifact, id_start: str, search: Search) -> Iterable[PartTable]:
    """The tables that may hold samples whose ids begin so: all of them, where there is no index."""
    low, high = (bytes_digest(bytes.fromhex(id_start.ljust(2 * SAMPLE_ID_BYTES, digit))) for digit in "0f")

    def parts(index: Index) -> list[int]:
        different = sorted(set(index.find_between(low, high)[1].tolist()))
        search.num_unread += len(different[MAX_PARTS_NAMED:])
        return different[:MAX_PARTS_NAMED]

    named = search.named(artifact, IDS, parts)
    return part_tables(artifact, SOURCE_TABLES[artifact.head.kind]) if named is None else named


def beginning_with(sample_ids: pa.ChunkedArray, id_start: str) -> set[bytes]:
    """The ids of a column whose hex digits begin with `id_start`."""
    import numpy as np

    # "3f2" gives the bounds 3f2000... and 3f2fff...; an odd number of digits therefore needs no special case.
    low, high = (bytes.fromhex(id_start.ljust(2 * SAMPLE_ID_BYTES, digit)) for digit in "0f")
    ids = np.array(sample_ids.to_pylist(), f"S{SAMPLE_ID_BYTES}")
    return set(sample_ids.filter((ids >= np.bytes_(low)) & (ids <= np.bytes_(high))).to_pylist())


def follow(store: Store, soughts: Sequence[Sought], among: Iterable[ManifestHead], search: Search) -> list[Sighting]:
    """The sightings of what is looked for: each artifact is searched, inputs first, for what its inputs hand on of it.

    An artifact without a sighting hands on nothing: the artifacts that read only such ones are not opened at all.
    """
    sightings: dict[str, Sighting] = {}
    for head in _inputs_first(among):
        artifact = Artifact(store, head)
        here = [sought for sought in soughts if head.kind in sought.kinds]
        begins = find_in_source(artifact, here, search) if here else None
        if begins is None or head.kind not in SOURCE_TABLES:
            sighting = with_given(begins, _find_by_inputs(artifact, sightings))
        else:
            sighting = begins
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
