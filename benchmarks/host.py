"""What the loaders and the ranks of a host hold, and what they compute before their first step.

    python -m benchmarks.host loaders [--num-parts 14000] [--num-ranks 8] [--num-workers 8]
    python -m benchmarks.host start [--hidden 1024] [--num-ranks 8]

`loaders`: rows of many parts, of which each has an index of 512 rows and 45 documents a row; all parts share the bytes
of one index, the manifest is whole. Processes of `--num-ranks` ranks bring up `--num-workers` loaders each, and every
loader deals out one step. Beside them: one process that does what each loader did before there was a map of rows, it
holds the manifest and reads the index of each part.

`start`: ranks build the model before the first step of pre-Buffer training, over a bf16 language model of Qwen3-1.7B's
shape with a width of `--hidden` instead of 2,048 and 19,000 words: a quarter of its layers' weights. Every page is
read, as a copy to a GPU would. Beside them: ranks that draw all weights in fp32 and copy the language model over them.

Memory is the proportional set size (PSS) of `/proc/<pid>/smaps_rollup`: a page that n processes share counts 1/n in
each, so that sums over processes are true. Asserts nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import pickle
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.long_load import loader_of
from neo_model.config import NeoConfig
from stages.artifacts.head import head_bytes, head_key, head_of
from stages.artifacts.kinds import ROW_INDEX_FILE, ROWS_FILE, ROWS_PHASE, Rows
from stages.artifacts.manifest import Manifest, artifact_folder, manifest_bytes, manifest_key
from stages.artifacts.records import FileEntry, ItemBalance, PartRecord
from stages.formats.packed_rows.row_index import RowFacts
from stages.formats.packed_rows.row_map import map_key, mapped_rows
from stages.formats.packed_rows.rows import RowReader
from stages.store.store import Store
from stages.training.loading.micro_batches import StepLoader
from stages.training.loading.split import RowSplit
from stages.training.loading.workers import Worker

NUM_ROWS, NUM_DOCUMENTS = 512, 45
"""Rows of a part, and documents of a row."""
ROWS_PER_STEP, NUM_RANKS_IN_ALL = 2560, 1280
FINGERPRINT = hashlib.sha256(b"host").hexdigest()


def main() -> None:
    """Measure loaders, or the start of ranks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    what = parser.add_subparsers(dest="what", required=True)
    loaders = what.add_parser("loaders")
    loaders.add_argument("--num-parts", type=int, default=14_000)
    loaders.add_argument("--num-ranks", type=int, default=8)
    loaders.add_argument("--num-workers", type=int, default=8)
    start = what.add_parser("start")
    start.add_argument("--hidden", type=int, default=1024)
    start.add_argument("--num-ranks", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="neo-host-") as folder:
        if options.what == "loaders":
            measure_loaders(Path(folder), options.num_parts, options.num_ranks, options.num_workers)
        else:
            measure_start(Path(folder), options.hidden, options.num_ranks)


def pss_bytes(processes: list[psutil.Process]) -> int:
    """Memory of processes together, each shared page once."""
    total = 0
    for process in processes:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


# Loaders


@dataclass(frozen=True)
class Dealing:
    """A loading whose answer is how one step is shared out, without reading its rows."""

    loader: StepLoader

    def fetch(self, step: int, number: int) -> tuple[float, list[int]]:
        """The imbalance of a step, and the rows of a micro-batch."""
        imbalance, shares = self.loader._assigned(step)
        return imbalance, shares[number]

    def decode(self, fetched: tuple[float, list[int]]) -> tuple[float, list[int]]:
        """What was fetched."""
        return fetched


def measure_loaders(folder: Path, num_parts: int, num_ranks: int, num_workers: int) -> None:
    """Print memory and time of all loaders of a host, beside one loader without a map times their number."""
    write_rows(folder, num_parts)
    rows = Rows(Store(folder), head_of((folder / manifest_key("pack_rows", FINGERPRINT)).read_bytes()))
    started, cpu = time.perf_counter(), time.process_time()
    light = mapped_rows(rows)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    map_bytes = (folder / map_key(rows)).stat().st_size
    print(
        f"{num_parts:,} parts of {NUM_ROWS} rows; a map of {map_bytes / 1e6:.0f} MB is made in {seconds:.1f} s", end=" "
    )
    print(f"({cpu_seconds:.1f} CPU s), once for a training")
    before = in_process(_load_by_indexes, pickle.dumps(rows.store))
    after = [*together(num_ranks, _bring_up, pickle.dumps(light), num_workers)]
    num_loaders = num_ranks * num_workers
    all_bytes, start_cpu = sum(one["bytes"] for one in after), sum(one["cpu"] for one in after)
    gigabytes = [before["bytes"] / 1e9, all_bytes / num_loaders / 1e9]
    cpu_each = [before["cpu"], start_cpu / num_loaders]
    print(f"{'':22}{'GB a loader':>13}{f'GB of {num_loaders}':>13}{'CPU s to its first step':>26}")
    for name, held, taken in zip(("manifest and indexes", "mapped"), gigabytes, cpu_each, strict=True):
        print(f"{name:22}{held:>13.3f}{num_loaders * held:>13.2f}{taken:>26.2f}")
    smaller, faster = gigabytes[0] / gigabytes[1], cpu_each[0] / cpu_each[1]
    print(f"{'ratio':22}{smaller:>13.1f}{smaller:>13.1f}{faster:>26.1f}")


def write_rows(folder: Path, num_parts: int) -> None:
    """A Rows artifact without tars, whose parts share one index."""
    from stages.formats.sample_table import write_table
    from stages.packing.write import _index_table

    prefix = artifact_folder("pack_rows", FINGERPRINT)
    index = folder / prefix / "attempts" / "host-1" / ROW_INDEX_FILE
    index.parent.mkdir(parents=True)
    write_table(_index_table(_places()), index)
    data = index.read_bytes()
    entry = FileEntry(
        name=ROW_INDEX_FILE,
        key=f"{prefix}/attempts/host-1/{ROW_INDEX_FILE}",
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )
    sources = {f"source_{number}": {"documents": 2500, "tokens": 900_000} for number in range(9)}
    parts = []
    for number in range(num_parts):
        sha256 = hashlib.sha256(str(number).encode()).hexdigest()
        key = f"{prefix}/attempts/host-1/{ROWS_PHASE}/{number:05d}-{sha256[:8]}/{ROWS_FILE}"
        tar = FileEntry(name=ROWS_FILE, key=key, size_bytes=2_000_000_000, sha256=sha256)
        facts = RowFacts(first_row=number * NUM_ROWS, num_rows=NUM_ROWS, sources=sources)
        parts.append(
            PartRecord(
                phase=ROWS_PHASE,
                part=f"{number:05d}",
                files=(tar, entry),
                items=ItemBalance(kept=NUM_ROWS * NUM_DOCUMENTS),
                facts=facts.dump(),
                made_by={"attempt": "host-1", "host": "node-17", "seconds": 312.204},
            )
        )
    manifest = Manifest(
        kind=Rows.kind,
        stage="pack_rows",
        number=8,
        fingerprint=FINGERPRINT,
        recipe={"max_row_tokens": 16_384, "min_pixels_px": 65_536, "max_pixels_px": 4_194_304},
        inputs={},
        items=ItemBalance(kept=num_parts * NUM_ROWS * NUM_DOCUMENTS),
        content=FINGERPRINT,
        versions={},
        parts=tuple(parts),
    )
    written = manifest_bytes(manifest)
    (folder / manifest_key("pack_rows", FINGERPRINT)).write_bytes(written)
    (folder / head_key("pack_rows", FINGERPRINT)).write_bytes(head_bytes(head_of(written)))


def _places() -> list[dict[str, Any]]:
    """An index as packing writes it, of rows of unequal cost."""
    chance = np.random.default_rng(0)
    return [
        {
            "row": row,
            "offset": row * 4_000_000,
            "size_bytes": 4_000_000,
            "digest": int(chance.integers(0, 2**63)),
            "num_tokens": 16_384,
            "num_images": NUM_DOCUMENTS,
            "num_pairs": int(chance.integers(2_000_000, 130_000_000)),
            "num_patches": int(chance.integers(0, 60_000)),
            "num_supervised": int(chance.integers(1000, 16_000)),
            "sample_ids": [chance.bytes(16) for _ in range(NUM_DOCUMENTS)],
            "sources": [f"source_{chance.integers(9)}" for _ in range(NUM_DOCUMENTS)],
            "document_tokens": chance.integers(100, 700, NUM_DOCUMENTS).tolist(),
        }
        for row in range(NUM_ROWS)
    ]


def _load_by_indexes(store: bytes) -> dict[str, float]:
    """What a loader did: it has the manifest, and after some steps the index of each part."""
    import torch  # noqa: F401 - a loader has it

    started = time.process_time()
    rows = Rows(pickle.loads(store), head_of_store(pickle.loads(store)))  # noqa: S301
    rows.manifest  # noqa: B018 - read here, unpickled there
    reader = RowReader(rows)
    reader.works(range(0, reader.num_rows, NUM_ROWS))
    return {"cpu": time.process_time() - started, "bytes": pss_bytes([psutil.Process()])}


def head_of_store(store: Store) -> Any:
    """The head of the rows in a store."""
    return head_of(store.read(manifest_key("pack_rows", FINGERPRINT)) or b"")


def _bring_up(rows: bytes, num_workers: int) -> Callable[[], dict[str, float]]:
    """Bring up the loaders of one rank. What is returned measures them, when all ranks have theirs."""
    loader = replace(
        loader_of(pickle.loads(rows)),  # noqa: S301
        split=RowSplit(0, NUM_RANKS_IN_ALL, 1, ROWS_PER_STEP // NUM_RANKS_IN_ALL),
        rows_per_step=ROWS_PER_STEP,
    )
    workers = [Worker(Dealing(loader)) for _ in range(num_workers)]
    for number, worker in enumerate(workers):
        worker.ask((number, 0))
    for number, worker in enumerate(workers):
        answer = worker.take((number, 0))
        if isinstance(answer, Exception):
            raise answer

    def measured() -> dict[str, float]:
        below = psutil.Process().children(recursive=True)
        running = [one for one in below if one.status() != psutil.STATUS_ZOMBIE]
        cpu = sum(one.cpu_times().user + one.cpu_times().system for one in running)
        return {"bytes": pss_bytes(running), "cpu": cpu}

    return measured


# The start of ranks


def measure_start(folder: Path, hidden: int, num_ranks: int) -> None:
    """Print memory and CPU seconds of the ranks of a host, built lean and as before."""
    from neo_model.weights.partition import num_parameters, parameter_shapes

    os.environ["TMPDIR"] = str(folder)
    config = write_language_model(folder / "llm", hidden)
    weights_bytes = 2 * num_parameters(config, parameter_shapes(config))
    print(f"{num_ranks} ranks on a host; all weights in bf16 take {weights_bytes / 1e9:.2f} GB")
    empty = sum(one["bytes"] for one in together(num_ranks, _nothing))
    print(f"{'':22}{'GB of the host':>16}{'x its weights':>16}{'CPU s of a rank':>18}")
    for name, build in (("drawn as a whole", _drawn_whole), ("mapped", _mapped)):
        measured = together(num_ranks, build, folder / "llm", config)
        held = sum(one["bytes"] for one in measured) - empty
        cpu = sum(one["cpu"] for one in measured) / num_ranks
        print(f"{name:22}{held / 1e9:>16.2f}{held / weights_bytes:>16.2f}{cpu:>18.1f}", flush=True)


def write_language_model(folder: Path, hidden: int) -> NeoConfig:
    """A Qwen3 folder of bf16 zeros; returns the configuration of the NEO over it, with 12 layers before it."""
    import torch
    from safetensors.torch import save_file

    from neo_model.weights.qwen3 import qwen3_shapes

    qwen3 = {
        "hidden_size": hidden, "num_attention_heads": hidden // 128, "num_key_value_heads": hidden // 256,
        "head_dim": 128, "intermediate_size": 3 * hidden, "vocab_size": 19_000, "num_hidden_layers": 28,
        "rope_theta": 1e6, "tie_word_embeddings": True, "model_type": "qwen3",
    }  # fmt: skip
    ids = {"image_start_id": 1, "image_context_id": 2, "image_end_id": 3}
    config = NeoConfig.from_qwen3(qwen3, num_prebuffer_layers=12, patch_hidden=1024, **ids)
    folder.mkdir()
    tensors = {name: torch.zeros(shape, dtype=torch.bfloat16) for name, shape in qwen3_shapes(config).items()}
    save_file(tensors, folder / "model.safetensors")
    return config


def _nothing() -> Callable[[], dict[str, float]]:
    """A rank that has imported what it needs and built nothing."""
    import neo_model.model  # noqa: F401

    return _measure_of(None)


def _drawn_whole(folder: Path, config: NeoConfig) -> Callable[[], dict[str, float]]:
    """The model as it was built before."""
    import torch

    from neo_model.model import NeoModel
    from neo_model.weights.released import read_tensors
    from tests.neo_model.weights.drawn_whole import init_hw_with_zero_gain, load_language_model

    torch.manual_seed(0)
    model = NeoModel(config)
    load_language_model(model, read_tensors(folder))
    init_hw_with_zero_gain(model)
    return _measure_of(model.state_dict())


def _mapped(folder: Path, config: NeoConfig) -> Callable[[], dict[str, float]]:
    """The weights as training gets them."""
    from stages.training.first_weights import first_weights

    return _measure_of(first_weights(folder, config, 0))


def _measure_of(weights: Any) -> Callable[[], dict[str, float]]:
    import torch

    for value in (weights or {}).values():
        value.contiguous().view(torch.uint8).reshape(-1)[::4096].sum()
    cpu = time.process_time()

    def measured() -> dict[str, float]:
        return {"bytes": pss_bytes([psutil.Process()]), "cpu": cpu, "held": len(weights or ())}

    return measured


# Processes


def in_process(work: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
    """`work` in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def together(
    num: int, bring_up: Callable[..., Callable[[], dict[str, float]]], *arguments: Any
) -> list[dict[str, float]]:
    """`bring_up` in so many processes at once; when all are up, what each of them measures."""
    context = get_context("spawn")
    pipes = [context.Pipe() for _ in range(num)]
    started = [context.Process(target=_serve, args=(theirs, bring_up, arguments)) for _, theirs in pipes]
    for process in started:
        process.start()
    for ours, _ in pipes:
        ours.recv()
    measured: list[dict[str, float]] = []
    for ours, _ in pipes:
        ours.send(None)
        measured.append(ours.recv())
    for ours, _ in pipes:
        ours.send(None)
    for process in started:
        process.join()
    return measured


def _serve(connection: Connection, bring_up: Callable[..., Callable[[], dict[str, float]]], arguments: Any) -> None:
    measure = bring_up(*arguments)
    connection.send(None)
    connection.recv()
    connection.send(measure())
    connection.recv()
    os._exit(0)


if __name__ == "__main__":
    main()
