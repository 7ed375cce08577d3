"""Searches pairs and documents for marks of benchmarks, and says of each which benchmark it is in, and by what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stages.artifacts.kinds import MARK_PHASE, MARKS_FILE
from stages.artifacts.records import FileEntry
from stages.contract import StageContext
from stages.duplicates.benchmark_marks import (
    BenchmarkMarker,
    BenchmarkMarks,
    MarkKind,
    load_benchmark_marks,
    mark_parts,
)
from stages.duplicates.measures.words import run_batches, run_digests, words_of
from stages.formats.sample_sources import SampleArtifact

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


MARKED: Final = ("benchmark", "benchmark_by")
"""Columns of sketches and verdicts where benchmarks are bound: the benchmark that a row is in, and by what."""


@dataclass(frozen=True, kw_only=True)
class MarkFiles:
    """Where the marks of benchmarks are, and how pairs are searched for them."""

    store_url: str
    entries: tuple[FileEntry, ...]
    names: tuple[str, ...]
    """Names of the benchmarks."""
    kinds: tuple[MarkKind, ...]
    """Kinds of marks that are searched for."""
    max_bits: int
    """Largest distance of hashes that are near."""
    num_words: int
    """Words of a run that is a mark."""

    def load(self) -> BenchmarkMarks:
        """The marks; a process loads them once."""
        return load_benchmark_marks(self.store_url, self.entries, self.names, self.max_bits)


def list_marks(
    ctx: StageContext,
    benchmarks: Mapping[str, SampleArtifact],
    kinds: tuple[MarkKind, ...],
    *,
    num_words: int | None,
    max_bits: int | None,
) -> MarkFiles:
    """List what the benchmarks are recognised by, in phase `mark`."""
    marker = BenchmarkMarker(benchmarks, kinds, num_words or 0)
    records = ctx.spread(marker.mark_part, over=mark_parts(benchmarks), phase=MARK_PHASE)
    return MarkFiles(
        store_url=ctx.store.url,
        entries=tuple(record.file(MARKS_FILE) for record in records),
        names=tuple(sorted(benchmarks)),
        kinds=kinds,
        max_bits=max_bits or 0,
        num_words=num_words or 0,
    )


def in_benchmarks(
    files: MarkFiles, digests: Mapping[str, pa.Array], texts: Sequence[str]
) -> tuple[list[str | None], list[str | None]]:
    """The name of the benchmark that each row is in, and by which kind of mark, surest first; None where in none.

    `digests` are the columns of a sketch, `texts` the captions or documents.
    """
    marks = files.load()
    names: list[str | None] = [None] * len(texts)
    kinds: list[str | None] = [None] * len(texts)
    for kind in files.kinds:
        for row, number in _marked(kind, marks, digests, texts, files.num_words):
            if names[row] is None:
                names[row], kinds[row] = marks.names[number], kind
    return names, kinds


def marked_columns(names: Sequence[str | None], kinds: Sequence[str | None]) -> dict[str, pa.Array]:
    """What `in_benchmarks` found, as columns of a sketch."""
    import pyarrow as pa

    return {name: pa.array(values, pa.string()) for name, values in zip(MARKED, (names, kinds), strict=True)}


def _marked(
    kind: MarkKind, marks: BenchmarkMarks, digests: Mapping[str, pa.Array], texts: Sequence[str], num_words: int
) -> list[tuple[int, int]]:
    """Rows that have a mark of a kind, each with the number of the benchmark."""
    import numpy as np

    if kind == "words":
        return _marked_by_words(marks, texts, num_words)
    column = digests["hash" if kind == "looks" else kind]
    rows: NDArray[np.intp] = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    values = column.drop_null().to_numpy()
    found = marks.find_near(values) if kind == "looks" else marks.find(kind, values)
    is_found = found >= 0
    return list(zip(rows[is_found].tolist(), found[is_found].tolist(), strict=True))


def _marked_by_words(marks: BenchmarkMarks, texts: Sequence[str], num_words: int) -> list[tuple[int, int]]:
    """Rows whose texts have a run of words that is a mark, each with the number of the first one's benchmark.

    Only the runs of one batch are in memory at a time, however many texts there are.
    """
    import numpy as np

    marked: list[tuple[int, int]] = []
    for rows, runs in run_batches(texts, lambda text: run_digests(words_of(text), num_words)):
        found = marks.find("words", np.concatenate(runs))
        (at,) = np.nonzero(found >= 0)
        firsts, places = np.unique(np.repeat(rows, [len(ones) for ones in runs])[at], return_index=True)
        marked += zip(firsts.tolist(), found[at[places]].tolist(), strict=True)
    return marked
