"""Keeps what a model will be examined on out of the pairs (decontamination): marks of benchmarks, and pairs with them.

    mark/<benchmark>-<part>   marks.parquet, a row for each mark of the questions or pairs of one part: `kind`,
                              `mark` of 64 bits, `benchmark`

A benchmark is any artifact of questions or of pairs. Its marks are the bytes, the URLs and the perceptual hashes of its
pictures, and the runs of `min_shared_words` words of its questions, answers and captions. A pair that has one of them,
or a hash near to one, is in the benchmark. What the recipe does not compare pairs by is no mark either.

Each process holds the marks of all benchmarks, 17 bytes for each and as much for each band of a hash: a million
questions of a hundred words are 1.7 GB, a hundred thousand are 170 MB.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from stages.artifacts.kinds import MARKS_FILE
from stages.artifacts.phase_files import read_entry
from stages.artifacts.records import FileEntry
from stages.contract import Part, PartDraft
from stages.duplicates.measures.digests import bytes_digest, url_digest
from stages.duplicates.measures.hash_bits import num_bits
from stages.duplicates.measures.near_hashes import band_masks
from stages.duplicates.measures.picture_hashes import UnreadablePictureError, picture_hash, tells_apart
from stages.duplicates.measures.words import run_digests, words_of
from stages.formats.sample_sources import SampleArtifact, SampleSource, SourcePart, open_source
from stages.formats.sample_table import read_table, write_table
from stages.formats.samples import Sample
from stages.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stages.duplicates.measures.hash_bits import Uint64

MarkKind: TypeAlias = Literal["picture", "url", "looks", "words"]
"""What a pair and a benchmark have in common, surest first."""
KINDS: Final[tuple[MarkKind, ...]] = get_args(MarkKind)


@dataclass(frozen=True)
class BenchmarkMarker:
    """Lists the marks of benchmarks. Pickles."""

    benchmarks: Mapping[str, SampleArtifact]
    """The benchmarks by name."""
    kinds: tuple[MarkKind, ...]
    """Kinds of marks that are listed."""
    num_words: int
    """Words of a run that is a mark."""

    def mark_part(self, part: Part, draft: PartDraft) -> None:
        """List the marks of one part of a benchmark, each once, in `marks.parquet`."""
        import pyarrow as pa

        task = SourcePart.of(part)
        source = open_source(self.benchmarks[task.source])
        marks: dict[tuple[int, int], None] = {}
        for number, sample in enumerate(source.samples(task.part), 1):
            marks |= dict.fromkeys((KINDS.index(kind), mark) for kind, mark in self.marks_of(sample, source))
            draft.progress(number)
        kinds = pa.array([kind for kind, _ in marks], pa.int8())
        table = pa.table({"kind": kinds, "mark": pa.array([mark for _, mark in marks], pa.uint64())})
        names = pa.array([task.source] * len(marks), pa.string()).dictionary_encode()
        write_table(table.append_column("benchmark", names), draft.path(MARKS_FILE))

    def marks_of(self, sample: Sample, source: SampleSource) -> Iterator[tuple[MarkKind, int]]:
        """The marks of a question or a pair. A picture that does not decode has no hash."""
        for picture in sample.pictures:
            if "picture" in self.kinds:
                yield "picture", bytes_digest(picture.image.sha256)
            if "url" in self.kinds and (digest := url_digest(picture.url)) is not None:
                yield "url", digest
            if "looks" in self.kinds and source.pictures is not None:
                try:
                    value = picture_hash(source.pictures.image_of(picture.image))
                except UnreadablePictureError:
                    continue
                if tells_apart(value):
                    yield "looks", value
        if "words" in self.kinds:
            for text in sample.texts:
                yield from (("words", digest) for digest in run_digests(words_of(text), self.num_words))


def mark_parts(benchmarks: Mapping[str, SampleArtifact]) -> list[Part]:
    """A part for each part of each benchmark."""
    tasks = [
        SourcePart(source=name, part=part)
        for name, artifact in sorted(benchmarks.items())
        for part in open_source(artifact).num_kept
    ]
    return [Part(name=f"{task.source}-{task.part}", task=task.dump()) for task in tasks]


@dataclass(frozen=True)
class BenchmarkMarks:
    """The marks of all benchmarks, and which pairs have one of them."""

    marks: Mapping[MarkKind, Uint64]
    """Kind to its marks [M], rising."""
    numbers: Mapping[MarkKind, NDArray[np.int16]]
    """Kind to the number [M] of the benchmark of each mark."""
    names: Sequence[str]
    """Names of the benchmarks by number."""
    max_bits: int
    """Largest distance of hashes that are near."""

    def find(self, kind: MarkKind, values: Uint64) -> NDArray[np.int16]:
        """The number of the benchmark that has each of the values [N] as a mark of this kind; -1 where none has."""
        import numpy as np

        marks = self.marks[kind]
        if not len(marks):
            return np.full(len(values), -1, np.int16)
        at = np.minimum(np.searchsorted(marks, values), len(marks) - 1)
        return np.where(marks[at] == values, self.numbers[kind][at], np.int16(-1))

    def find_near(self, hashes: Uint64) -> NDArray[np.int16]:
        """The number of a benchmark with a picture that looks like each of the hashes [N]; -1 where none does.

        Of `max_bits` + 1 bands one is equal: marks are searched under the bits of each.
        """
        import numpy as np

        found = np.full(len(hashes), len(self.names), np.int16)
        for mask, keys, order in self._by_bands:
            wanted = hashes & np.uint64(mask)
            first, end = np.searchsorted(keys, wanted, "left"), np.searchsorted(keys, wanted, "right")
            rows = np.repeat(np.arange(len(hashes)), end - first)
            behind = np.arange(len(rows)) - np.repeat(np.cumsum(end - first) - (end - first), end - first)
            marks = order[np.repeat(first, end - first) + behind]
            near = num_bits(hashes[rows] ^ self.marks["looks"][marks]) <= self.max_bits
            np.minimum.at(found, rows[near], self.numbers["looks"][marks[near]])
        return np.where(found == len(self.names), np.int16(-1), found)

    @cached_property
    def _by_bands(self) -> list[tuple[int, Uint64, NDArray[np.intp]]]:
        """The mask of each band, the hashes under it in order, and where each stands."""
        import numpy as np

        bands = []
        for mask in band_masks(self.max_bits - 1):
            keys = self.marks["looks"] & np.uint64(mask)
            order = np.argsort(keys, kind="stable")
            bands.append((mask, keys[order], order))
        return bands


@lru_cache(maxsize=1)
def load_benchmark_marks(
    store_url: str, entries: tuple[FileEntry, ...], names: tuple[str, ...], max_bits: int
) -> BenchmarkMarks:
    """The marks in these files. The last result is cached: a worker loads them once for all its parts."""
    import numpy as np

    store = Store(store_url)
    tables = [read_table(read_entry(store, entry)) for entry in entries]
    numbered = [
        (table["kind"].to_numpy(), table["mark"].to_numpy(), names.index(table["benchmark"][0].as_py()))
        for table in tables
        if table.num_rows
    ]
    marks: dict[MarkKind, Uint64] = {}
    numbers: dict[MarkKind, NDArray[np.int16]] = {}
    for number, kind in enumerate(KINDS):
        nothing = np.empty(0, np.uint64), np.empty(0, np.int16)
        mine = [(mark[kinds == number], at) for kinds, mark, at in numbered]
        values = np.concatenate([nothing[0], *(mark for mark, _ in mine)])
        owners = np.concatenate([nothing[1], *(np.full(len(mark), at, np.int16) for mark, at in mine)])
        order = np.lexsort((owners, values))
        marks[kind], numbers[kind] = values[order], owners[order]
    return BenchmarkMarks(marks, numbers, names, max_bits)
