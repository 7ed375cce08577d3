"""Phase `sketch` of documents: what they are compared by, and which benchmark each is in.

    sketch.parquet   a row for each document that the source kept: `sample_id`, `own_reason`, `num_chars`, and digests
                     of 64 bits, null where it is not compared by that: `text`, and `text_00` to `text_15` where texts
                     are compared by likeness; with benchmarks, `benchmark` and `benchmark_by`

Documents of an earlier source that `dedup_texts` made are not read again: the rows of those that it kept are copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stages.artifacts.kinds import KeptTexts, TextDocuments
from stages.contract import Part, PartDraft, PartFacts
from stages.duplicates.benchmark_search import MarkFiles, in_benchmarks, marked_columns
from stages.duplicates.criteria import DuplicateReason
from stages.duplicates.measures.digests import text_digest
from stages.duplicates.measures.minhash import NUM_BANDS, band_columns
from stages.duplicates.parts_of_rows import JUDGED, SketchTask
from stages.duplicates.sketching import SKETCH_FILE, sketched_before
from stages.formats.judged.texts import TextReader
from stages.formats.sample_table import sample_id_type, write_table

if TYPE_CHECKING:
    import pyarrow as pa

STAGE_NAME: Final = "dedup_texts"
"""The stage whose artifacts hold sketches of documents."""
TEXT_RUN_WORDS: Final = 5
"""Words of the runs by which documents are alike."""
TEXT_BANDS: Final = tuple(f"text_{band:02d}" for band in range(NUM_BANDS))
"""Columns of the keys by which documents are compared by likeness."""


class TextSketchFacts(PartFacts):
    """What a part of phase `sketch` of documents records."""

    num_copied: int
    """Rows that were copied from an earlier sketch."""


@dataclass(frozen=True, kw_only=True)
class TextSketcher:
    """Sketches the parts of all sources of documents. Pickles."""

    sources: Mapping[str, KeptTexts | TextDocuments]
    """The earlier sources by name, and under `JUDGED` the one that is judged."""
    likeness: float | None
    """Likeness by which documents are compared; None compares none by it."""
    marks: MarkFiles | None
    """Marks of benchmarks that no document that is judged may have; None without benchmarks."""

    def sketch_part(self, part: Part, draft: PartDraft) -> None:
        """Sketch one part of a source."""
        task = SketchTask.of(part)
        source, table = self.sources[task.source], None
        if task.source != JUDGED:
            table = sketched_before(source, task.part, STAGE_NAME, {"min_likeness": self.likeness})
        num_copied = 0 if table is None else table.num_rows
        if table is None:
            table = self._sketched(source, task)
        write_table(table, draft.path(SKETCH_FILE))
        draft.fact(**TextSketchFacts(num_copied=num_copied).dump())

    def _sketched(self, source: KeptTexts | TextDocuments, task: SketchTask) -> pa.Table:
        import pyarrow as pa

        rows = TextReader(source).read_table(task.part, ["sample_id", "text"])
        texts = rows["text"].to_pylist()
        digests = {"text": pa.array(map(text_digest, texts), pa.uint64())}
        if self.likeness is not None:
            digests |= band_columns(texts, self.likeness, TEXT_BANDS, run_words=TEXT_RUN_WORDS)
        reasons: list[str | None] = [None] * len(texts)
        known: dict[str, pa.Array] = {}
        if self.marks is not None and task.source == JUDGED:
            names, kinds = in_benchmarks(self.marks, digests, texts)
            reasons = [None if name is None else DuplicateReason.IN_BENCHMARK.value for name in names]
            known = marked_columns(names, kinds)
        return pa.table(
            {
                "sample_id": rows["sample_id"].cast(sample_id_type()),
                "own_reason": pa.array(reasons, pa.string()),
                "num_chars": pa.array([len(text) for text in texts], pa.int64()),
                **digests,
                **known,
            }
        )
