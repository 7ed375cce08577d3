"""What finding samples costs by an index, beside reading the tables with pyarrow: look-ups, lists, sentences, looks.

`python -m benchmarks.lineage --samples 5000000 --folder lineage [--no-text] [--delay 0.03]`: tables and records of
so many pairs are made in the folder, without pictures, and kept there for the next time; then their indexes. Each
measure prints wall and CPU seconds; the baseline is pyarrow's own scan of a column in all tables, in the same process.
At the end 100,000 of the pairs lie on an S3 server (moto) of this machine, behind a proxy that holds each request back.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from benchmarks.lineage_world import DrawnLooksRecipe, ListedPairsRecipe, dedup_pairs, list_pairs, pair_table, words
from benchmarks.reads import remote_store
from cluster.local import make
from pipelines.indexes.build import MadeIndexes, forget_indexes, make_indexes
from pipelines.indexes.look_up import Index, open_index
from pipelines.indexes.subjects import IDS, LOOKS, NAMES, TEXTS, bytes_digest, looks_digest, name_digest
from pipelines.indexes.texts import words_in
from pipelines.lineage.sought import Search, Sought, names, sentence
from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import SAMPLES_FILE
from stages.store.store import Store

NUM_LOOK_UPS = 2000
NUM_ASKED = 1_000_000
NUM_ON_S3 = 100_000
ROWS_PER_PART = 10_000


def timed(label: str, work: Callable[[], Any], beside: float | None = None) -> tuple[Any, float]:
    """Print what something took, and how many times less than the baseline; returns its result and its CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    ratio = "" if beside is None else f"  {beside / max(cpu, 1e-9):,.0f} times less CPU than the baseline"
    print(f"{label:<58} {wall:9.3f} s {cpu:9.3f} CPU s{ratio}", flush=True)
    return result, cpu


def build(artifact: Artifact, texts: bool, answer: Any) -> None:
    """Make indexes in a process of its own, whose peak memory is theirs."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    made = make_indexes(artifact.store, artifact.head, texts=texts)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer.put((made, time.perf_counter() - wall, time.process_time() - cpu, (before / 1024, peak / 1024)))


def built(label: str, artifact: Artifact, num_samples: int, *, texts: bool = False) -> MadeIndexes:
    """Make the indexes of an artifact afresh, and print what they cost."""
    context = get_context("spawn")
    answer: Any = context.Queue()
    process = context.Process(target=build, args=(Artifact(artifact.store, artifact.head), texts, answer))
    process.start()
    made: MadeIndexes
    made, wall, cpu, (before, peak) = answer.get()
    process.join()
    print(f"{label}: {wall:.0f} s, {cpu:.0f} CPU s ({1e6 * cpu / num_samples:.1f} us a sample), {peak:.0f} MiB at peak")
    print(f"  (the process had {before:.0f} MiB before)")
    for one in made.indexes:
        print(f"  {one.subject:<10} {one.num_entries:>13,} entries {one.size_bytes / num_samples:6.2f} bytes a sample")
    return made


def look_ups(label: str, index: Index, digests: list[int]) -> None:
    """Print the median and the 99th percentile of single look-ups."""
    times, cpu = [], time.process_time()
    for digest in digests:
        started = time.perf_counter()
        index.find(digest)
        times.append(1e3 * (time.perf_counter() - started))
    cpu = 1e3 * (time.process_time() - cpu) / len(digests)
    times.sort()
    p99 = times[int(0.99 * len(times))]
    print(f"{label}: p50 {statistics.median(times):.3f} ms, p99 {p99:.3f} ms, {cpu:.3f} CPU ms on average", flush=True)


def urls_of(num_samples: int, how_many: int) -> list[tuple[str, bytes, str]]:
    """URL, sample id and caption of pairs from everywhere."""
    chance, known, found = random.Random(1), words(), []
    for part in chance.sample(range(num_samples // ROWS_PER_PART), min(200, num_samples // ROWS_PER_PART)):
        table = pair_table(part * ROWS_PER_PART, ROWS_PER_PART, known)
        rows = table.take(chance.sample(range(ROWS_PER_PART), max(1, how_many // 200)))
        found += [(row["url"], row["sample_id"], row["caption"]) for row in rows.to_pylist()]
    return found


def on_a_folder(pairs: Artifact, num_samples: int, *, texts: bool) -> None:
    """Look-ups in a folder, beside scans."""
    paths = [str(Path(pairs.store.url) / part.file(SAMPLES_FILE).key) for part in pairs.each_part()]
    table = ds.dataset(paths, format="parquet")
    some = urls_of(num_samples, NUM_LOOK_UPS)
    index = open_index(pairs.store, pairs.head, NAMES)
    ids = open_index(pairs.store, pairs.head, IDS)
    assert index is not None and ids is not None
    look_ups("a URL that is there", index, [name_digest(url) for url, *_ in some])
    look_ups("a URL that is not", index, [name_digest(f"{url}?no") for url, *_ in some])
    look_ups("a sample id", ids, [bytes_digest(one) for _, one, _ in some])
    _, scan = timed("baseline: scan for one URL", lambda: table.to_table(filter=pc.field("url") == some[0][0]))
    rows, _ = timed("one URL, with its row out of the table", lambda: names([some[0][0]]).rows(pairs, Search()), scan)
    assert [row["url"] for row in rows] == [some[0][0]]
    asked = many_urls(num_samples)
    digests, _ = timed(
        f"digests of {len(asked):,} URLs", lambda: np.array([name_digest(one) for one in asked], np.uint64)
    )
    _, scan = timed(
        f"baseline: scan for {len(asked):,} URLs",
        lambda: table.to_table(["url"], filter=pc.is_in(pc.field("url"), pa.array(asked))).num_rows,
    )
    (numbers, _), _ = timed(
        f"{len(asked):,} digests looked up, half of them there", lambda: index.find_many(digests), scan
    )
    there = np.zeros(len(asked), bool)
    there[numbers] = True
    half = len(asked) // 2
    assert there[:half].all()
    print(f"  {int(there[half:].sum())} of {half:,} that are not there were taken for such that are")
    if texts:
        sentences(pairs, table, some)


def many_urls(num_samples: int) -> list[str]:
    """URLs of which the first half is there."""
    known, found = words(), []
    for part in range(0, num_samples // ROWS_PER_PART, max(1, 2 * num_samples // NUM_ASKED)):
        found += pair_table(part * ROWS_PER_PART, ROWS_PER_PART, known)["url"].to_pylist()
    found = found[: NUM_ASKED // 2]
    return [*found, *(f"{url}?no" for url in found)]


def sentences(pairs: Artifact, table: Any, some: list[tuple[str, bytes, str]]) -> None:
    """Sentences of six words, each found in a caption, with their rows."""
    texts = [" ".join(caption.split()[:6]) for *_, caption in some if len(caption.split()) >= 6][:50]
    matching = pc.match_substring(pc.field("caption"), texts[0])
    _, scan = timed("baseline: scan for one sentence", lambda: table.to_table(["url"], filter=matching).num_rows)
    times = []
    for text in texts:
        started = time.perf_counter()
        assert sentence(text).rows(pairs, Search())
        times.append(time.perf_counter() - started)
    index = open_index(pairs.store, pairs.head, TEXTS)
    assert index is not None
    num_parts = [len(index.find_all(words_in(text).runs().tolist())) for text in texts]
    print(
        f"a sentence of 6 words, with its rows: p50 {statistics.median(times):.3f} s, longest {max(times):.3f} s; "
        f"tables read: {statistics.median(num_parts):.0f}, at most {max(num_parts)}"
    )
    timed("one sentence", lambda: sentence(texts[0]).rows(pairs, Search()), scan)


def near_looks(hashed: Artifact) -> None:
    """Hashes that differ in few bits, by the index and beside a scan of all."""
    index = open_index(hashed.store, hashed.head, LOOKS)
    assert index is not None
    paths = [str(Path(hashed.store.url) / one.key) for part in hashed.each_part() for one in part.files]
    value = int(np.random.default_rng([2, 0]).integers(0, 2**63, 1, np.uint64)[0])

    def scanned() -> int:
        table = ds.dataset(paths, format="parquet").to_table(["hash"])
        return int((np.bitwise_count(table["hash"].to_numpy() ^ np.uint64(value)) <= 3).sum())

    number, scan = timed("baseline: scan for looks within 3 bits", scanned)
    parts, _ = timed("parts with looks within 3 bits", lambda: index.find_near(looks_digest(value), 3), scan)
    print(f"  {number} there, {len(parts)} parts named")


def on_s3(folder: Path, delay_seconds: float) -> None:
    """Requests and time of a look-up where each request takes a while."""
    local = make(list_pairs.bind("pairs", ListedPairsRecipe(num_pairs=NUM_ON_S3)), Store(folder / "few"))
    make_indexes(local.store, local.head)
    with tempfile.TemporaryDirectory() as logs, remote_store(delay_seconds, Path(logs) / "moto.txt") as (url, proxy):
        there = Store(url)
        for top in ("artifacts", "indexes"):
            for key in local.store.keys(top):
                there.upload(Path(local.store.url) / key, key)
        os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{proxy.port}"
        remote = Artifact(Store(url), local.head)
        index = open_index(remote.store, remote.head, NAMES)
        assert index is not None
        some = urls_of(NUM_ON_S3, 200)
        asked(proxy, "a URL looked up", lambda: index.find(name_digest(some[0][0])))
        asked(proxy, "another URL looked up", lambda: index.find(name_digest(some[1][0])))
        by_name: Sought = names([some[0][0]])
        asked(proxy, "a URL with its row, from the head of the index on", lambda: by_name.rows(remote, Search()))
        many = np.array([name_digest(one) for one, *_ in some], np.uint64)
        asked(proxy, f"{len(many)} URLs looked up at once", lambda: index.find_many(many))


def asked(proxy: Any, label: str, work: Callable[[], Any]) -> None:
    """Print the requests and the time of something on S3."""
    proxy.num_requests, started = 0, time.perf_counter()
    work()
    print(f"S3: {label}: {proxy.num_requests} requests, {1e3 * (time.perf_counter() - started):.0f} ms", flush=True)


def main() -> None:
    """Make what is not there yet, then measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--samples", type=int, default=5_000_000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--no-text", action="store_true")
    parser.add_argument("--delay", type=float, default=0.03, help="seconds that each request to S3 is held back")
    asked_for = parser.parse_args()
    store, number = Store(asked_for.folder), asked_for.samples
    listed = list_pairs.bind("pairs", ListedPairsRecipe(num_pairs=number))
    pairs, _ = timed(f"tables of {number:,} pairs made, or found", lambda: make(listed, store))
    hashed, _ = timed(
        "tables of hashes made, or found", lambda: make(dedup_pairs.bind("hashed", DrawnLooksRecipe(), listed), store)
    )
    for one in (pairs, hashed):
        forget_indexes(store, one.head)
    made = [built("indexes of pairs", pairs, number), built("index of looks", hashed, number)]
    print(f"all of these: {sum(one.size_bytes for one in made) / number:.2f} bytes a sample")
    if not asked_for.no_text:
        built("with the index of texts", pairs, number, texts=True)
    on_a_folder(Artifact(store, pairs.head), number, texts=not asked_for.no_text)
    near_looks(Artifact(store, hashed.head))
    few = asked_for.folder / "s3"
    on_s3(few, asked_for.delay)
    shutil.rmtree(few, ignore_errors=True)


if __name__ == "__main__":
    main()
