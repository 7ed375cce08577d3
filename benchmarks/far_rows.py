"""Writing packed rows where every request to the store takes a while: rows a second of one worker.

    python -m benchmarks.far_rows [--delay 0.05] [--num-pairs 6000] [--num-rows 60]

Rows of 16,384 tokens (some 70 pictures of 57 KB) are written as phase `write` does it, from a folder of which every
range read is held back for `--delay` seconds. `near` is the draw of this benchmark, whose documents are neighbours in
a few files; `scattered` joins no two reads, as where a draw has 390 million documents. Beside them, in the same run:
documents and pictures of a row read one after the other, eight rows at a time. Asserts nothing but equal bytes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pair_world import LLM, draw_of
from cluster.local import make
from stages.artifacts.kinds import MEASURE_PHASE, PLAN_PART, PLAN_PHASE, Draw
from stages.commit.draft import Draft
from stages.contract import Part
from stages.formats import read_ahead
from stages.formats.sample_sources import drawn_sources
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.packing.document_records import from_record
from stages.packing.plan_file import PlannedPart, planned_parts, read_planned
from stages.packing.row_inputs import RowContent, RowInputs
from stages.packing.write import write_part
from stages.store.reader import StoreReader
from stages.store.store import Store

NUM_ROWS_AHEAD = 8
"""Rows that were read at a time before."""


def main() -> None:
    """Pack some pairs, then write a part of them again, near and far."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--delay", type=float, default=0.05, help="seconds of each request")
    parser.add_argument("--num-pairs", type=int, default=6000)
    parser.add_argument("--num-rows", type=int, default=60, help="rows of a part")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="neo-far-") as name:
        store = Store(Path(name) / "store")
        recipe = PackRowsRecipe(num_rows_per_part=asked.num_rows)
        rows = make(pack_rows.bind("rows", recipe, draw_of(asked.num_pairs), LLM), store)
        plan = rows.part(PLAN_PART, PLAN_PHASE)
        part = planned_parts(store, plan)[0]
        inputs = RowInputs.of(store, drawn_sources(rows.input("draw", Draw)), rows.phase(MEASURE_PHASE))
        num_rows = PlannedPart.of(part).num_rows
        planned = read_planned(store, plan, PlannedPart.of(part))
        split = np.split(planned, np.flatnonzero(np.diff(planned["row"])) + 1)
        expected = [content.images for content in inputs.read_rows(split)]
        num_pictures = sum(map(len, expected)) / num_rows
        print(f"{num_rows} rows of {num_pictures:.0f} pictures, {asked.delay * 1000:.0f} ms a request")
        requests = delay_reads(asked.delay)
        written = Path(name) / "written"
        seconds, found = timed(lambda: [content.images for content in one_by_one(inputs, split)])
        assert found == expected
        before = show("one after the other", num_rows, seconds, requests)
        for label, gap_bytes in (("near", read_ahead.MAX_GAP_BYTES), ("scattered", -1)):
            read_ahead.MAX_GAP_BYTES = gap_bytes  # type: ignore[misc]
            seconds, _ = timed(lambda: write(part, plan, inputs, written))
            rate = show(label, num_rows, seconds, requests)
            print(f"{'':22} {rate / before:.1f} times as many rows, tar and index written as well")


def delay_reads(seconds: float) -> list[str]:
    """Hold back each range read of any store in this process; returns the list of their keys, which grows."""
    requests: list[str] = []
    plain = StoreReader.read_range

    def late(self: StoreReader, key: str, start: int, length: int, *, keep_open: bool = False) -> bytes:
        requests.append(key)
        time.sleep(seconds)
        return plain(self, key, start, length, keep_open=keep_open)

    StoreReader.read_range = late  # type: ignore[method-assign]
    return requests


def one_by_one(inputs: RowInputs, rows: Sequence[Any]) -> Iterator[RowContent]:
    """The rows as they were read before: one request after the other within a row."""

    def read(planned: Any) -> RowContent:
        documents, images = [], []
        for _, measured, offset, size_bytes, _, _ in planned.tolist():
            part = inputs.measured[measured]
            document = from_record(inputs.store.read_range(part.records_key, offset, size_bytes))
            documents.append(document)
            images += [inputs.pictures[part.source].image_of(image) for image in document.images]
        return RowContent(number=int(planned["row"][0]), facts=[], documents=documents, images=images)

    return read_ahead.ahead(read, rows, NUM_ROWS_AHEAD)


def write(part: Part, plan: Any, inputs: RowInputs, folder: Path) -> None:
    """Write the part as phase `write` does it."""
    with tempfile.TemporaryDirectory(prefix=folder.name, dir=folder.parent) as scratch:
        write_part(part, Draft(scratch=Path(scratch), report=lambda _: None), plan=plan, inputs=inputs)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Wall seconds of `work`, because it waits, and what it returns."""
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def show(label: str, num_rows: int, seconds: float, requests: list[str]) -> float:
    """Print and return rows a second; forget the requests."""
    print(f"{label:<22} {num_rows / seconds:6.1f} rows/s {len(requests) / num_rows:6.1f} requests a row", flush=True)
    requests.clear()
    return num_rows / seconds


if __name__ == "__main__":
    main()
