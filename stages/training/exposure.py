"""What a training stage has seen by a step: computed, never logged.

Owns the account of it. The recipe's order says which rows each step took, the index of the rows what they hold, and
the last checkpoint what was left out: damaged rows, and whole steps. `tests/stages/training/test_exposure.py` compares
it with every batch of a real training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import ROW_INDEX_FILE, ROWS_PHASE, Rows
from stages.artifacts.records import STEPS_PHASE
from stages.contract import ReadingSteps, StageError, fork_of
from stages.formats.external_sort import Buckets
from stages.formats.packed_rows.row_index import RowFacts
from stages.formats.packed_rows.rows import RowReader
from stages.formats.packed_rows.sample_index import halves
from stages.formats.sample_table import SAMPLE_ID_BYTES, read_table, sample_id_type
from stages.training.forks import course_of
from stages.training.loading.step_rows import RowOrder
from stages.training.skipped import LeftOutOfSteps

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from stages.formats.external_sort import Records
    from stages.formats.permutation import Whole

LISTS = {"sample_ids": "sample_id", "sources": "source", "document_tokens": "tokens"}
"""Columns of the index that list the documents of a row, and what is called so of one."""
SAMPLE_FIELDS = [("sample_id", f"V{SAMPLE_ID_BYTES}"), ("source", "<u4")]
KEY_BITS = 32
"""Leading bits of a sample id by which samples are set apart before they are counted."""


@dataclass(frozen=True)
class SeenRows:
    """What was seen of one Rows artifact."""

    name: str
    """Name of the input, such as `rows.0`."""
    rows: Rows
    span: ReadingSteps
    """The steps that read it, counted from 0, as far as training has come."""
    times: Whole
    """[num_rows], how often each row was read."""


@dataclass(frozen=True)
class SeenOfSource:
    """What was seen of one source."""

    documents: int = 0
    """Documents read; one that was read twice counts twice."""
    tokens: int = 0
    """Tokens of these documents, counted as often."""
    samples: int = 0
    """Distinct samples."""


def is_trained(artifact: Artifact) -> bool:
    """Whether an artifact was made by steps over rows."""
    return "rows_per_step" in artifact.head.recipe and any(artifact.inputs("rows."))


def num_steps_taken(trained: Artifact) -> int:
    """Optimizer steps behind the model of a training: `num_steps`, or those until the step that is handed out."""
    recipe = trained.head.recipe
    return int(recipe.get("hand_out") or recipe["num_steps"])


def seen_rows(trained: Artifact, until_step: int | None = None) -> tuple[SeenRows, ...]:
    """What the first `until_step` steps read of each Rows artifact, those before a fork included; None is all steps.

    Raises `StageError` where there are fewer.
    """
    num_taken = num_steps_taken(trained)
    num_steps = num_taken if until_step is None else until_step
    if not 0 <= num_steps <= num_taken:
        raise StageError(f"{trained!r} was trained for {num_taken} steps; {num_steps} is not among them")
    left_out = left_out_of(trained)
    return tuple(_seen(trained, stretch, left_out) for stretch in course_of(trained.head, num_steps))


def seen_of_sources(seen: Sequence[SeenRows], scratch: Path) -> dict[str, SeenOfSource]:
    """What was seen of each source. Any number of samples: they are told apart in files under `scratch`."""
    import numpy as np

    counts: dict[str, Counter[str]] = {}
    num_documents = sum(RowFacts.of(part).num_documents for one in seen for part in one.rows.phase(ROWS_PHASE))
    buckets = Buckets(scratch / "samples", SAMPLE_FIELDS, num_keys=2**KEY_BITS, num_records=num_documents)
    with buckets:
        for documents in (documents for one in seen for documents in _documents(one)):
            for source, num_read, num_tokens in _sums(documents):
                counts.setdefault(source, Counter()).update(documents=num_read, tokens=num_tokens)
            codes = {source: code for code, source in enumerate(counts)}
            samples = np.empty(documents.num_rows, SAMPLE_FIELDS)
            samples["sample_id"] = _bytes_of(documents["sample_id"])
            samples["source"] = [codes[source] for source in documents["source"].to_pylist()]
            buckets.add(samples, halves(samples["sample_id"])[0] >> np.uint64(64 - KEY_BITS))
        sources = list(counts)
        for bucket in buckets.drain():
            for code, num_samples in _num_different(bucket):
                counts[sources[code]].update(samples=num_samples)
    return {source: SeenOfSource(**counts[source]) for source in sorted(counts)}


def left_out_of(trained: Artifact) -> LeftOutOfSteps:
    """What the steps of a training were applied without, as its last checkpoint says."""
    checkpoints = trained.phase(STEPS_PHASE)
    return LeftOutOfSteps.of_checkpoint(checkpoints[-1]) if checkpoints else LeftOutOfSteps()


def _seen(trained: Artifact, span: ReadingSteps, left_out: LeftOutOfSteps) -> SeenRows:
    name = name_of_rows(trained, span)
    rows = trained.input(name, Rows)
    order = order_of(RowReader(rows), span)
    times = order.times_taken(span.until_step - span.first_step)
    whole = sorted(step for step in left_out.steps if span.first_step <= step < span.until_step)
    for row in (row for step in whole for row in order.rows_of_step(step - span.first_step)):
        times[row] -= 1
    for step, row in left_out.rows:
        if span.first_step <= step < span.until_step and step not in left_out.steps:
            times[row] -= order.rows_of_step(step - span.first_step).count(row)
    return SeenRows(name, rows, span, times)


def name_of_rows(trained: Artifact, stretch: ReadingSteps) -> str:
    """The input name of the rows that a stretch of steps read, such as `rows.0`, or `before.rows.0` before a fork."""
    fork = fork_of(trained.head)
    if fork is None or stretch.until_step > fork.at_step:
        return stretch.name
    return next(name for name, item in trained.inputs() if item.fingerprint == stretch.rows.fingerprint)


def order_of(reader: RowReader, stretch: ReadingSteps) -> RowOrder:
    """The order in which a stretch of steps read its rows."""
    return RowOrder.of(reader, rows_per_step=stretch.rows_per_step, seed=stretch.seed, first_row=stretch.first_row)


def _documents(seen: SeenRows) -> Iterator[pa.Table]:
    """A table for each part of the rows: the documents that were read, with `times`, how often."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for part in seen.rows.phase(ROWS_PHASE):
        facts = RowFacts.of(part)
        times = seen.times[facts.first_row : facts.first_row + facts.num_rows]
        if not times.any():
            continue
        index = read_table(seen.rows.read(part.file(ROW_INDEX_FILE)), list(LISTS)).combine_chunks()
        rows = pc.list_parent_indices(index["sources"].chunk(0)).to_numpy()
        table = pa.table({name: pc.list_flatten(index[column]) for column, name in LISTS.items()})
        yield table.append_column("times", pa.array(times[rows])).filter(pa.array(times[rows] > 0))


def _sums(documents: pa.Table) -> Iterator[tuple[str, int, int]]:
    """Source, documents and tokens, each counted as often as it was read."""
    import pyarrow as pa
    import pyarrow.compute as pc

    tokens = pc.multiply(documents["tokens"].cast(pa.int64()), documents["times"])
    counted = documents.append_column("num_tokens", tokens).group_by("source")
    sums = counted.aggregate([("times", "sum"), ("num_tokens", "sum")]).to_pylist()
    return ((row["source"], row["times_sum"], row["num_tokens_sum"]) for row in sums)


def _num_different(samples: Records) -> Iterator[tuple[int, int]]:
    """Code of each source and the number of its different samples."""
    import numpy as np
    import pyarrow as pa

    ids = pa.py_buffer(np.ascontiguousarray(samples["sample_id"]))
    table = pa.table(
        {
            "sample_id": pa.FixedSizeBinaryArray.from_buffers(sample_id_type(), len(samples), [None, ids]),
            "source": samples["source"],
        }
    )
    counted = table.group_by("source").aggregate([("sample_id", "count_distinct")]).to_pylist()
    return ((row["source"], row["sample_id_count_distinct"]) for row in counted)


def _bytes_of(sample_ids: pa.ChunkedArray) -> NDArray[np.void]:
    """A column of sample ids as numpy has them."""
    import numpy as np

    return np.array(sample_ids.to_pylist(), f"V{SAMPLE_ID_BYTES}")
