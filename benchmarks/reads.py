"""Seconds and requests of the commands that only read, beside 500 finished runs and a busy one.

    python -m benchmarks.reads [--runs 500] [--messages 500] [--chunks 1000] [--delay 0.03]

Two stores with the same content are asked: a folder, and an S3 server (moto) behind a proxy that holds each request
back for `--delay` seconds, as a store far away does. `neo list` of an empty store shows what starting `neo` costs.
Prints medians, and asserts nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from pipelines.planning.plan import decide
from pipelines.runs.log import num_chunks
from pipelines.runs.run import Run, all_runs
from stages.contract import NumbersReported, PhaseOpened, StepStarted
from stages.store.metadata import open_store
from stages.store.store import Store
from tests.pipelines.runs.many_runs import fill_outbox, finished_run, put
from tests.s3_server import environment, make_bucket, s3_server

COMMANDS = (("list",), ("status", "broken_data"), ("logs", "broken_data"), ("show", "broken_data"))
PIPELINE = f"{Path(__file__).parents[1]}/tests/pipelines/toy_pipeline.py:broken_data"
STORES = ("folder", "S3")
WRITERS = 16


class DelayingProxy:
    """Passes bytes between clients and a server, each piece of a request `delay_seconds` late; counts the requests."""

    def __init__(self, port: int, delay_seconds: float) -> None:
        self.num_requests = 0
        self._server_port, self._delay_seconds = port, delay_seconds
        self._started = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        self._started.wait()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await server.serve_forever()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        await asyncio.gather(self._pass(reader, to_server, True), self._pass(from_server, writer, False))

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, is_request: bool) -> None:
        while data := await source.read(1 << 16):
            if is_request:
                self.num_requests += data.startswith((b"GET ", b"HEAD ", b"PUT ", b"DELETE ", b"POST "))
                await asyncio.sleep(self._delay_seconds)
            target.write(data)
            await target.drain()
        target.close()


def fill(store: Store, num_runs: int, num_messages: int, num_log_chunks: int) -> None:
    """Finished runs, and messages and log of the run that is there, which this process goes on with."""
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(lambda number: finished_run(store, f"toy-{number:08x}"), range(num_runs)))
    (run,) = (run for run in all_runs(store) if run.name.startswith("broken_data"))
    attempt = run.begin_attempt(decide(run.request, store), "here")
    fill_outbox(
        run, [[StepStarted(step="kept"), PhaseOpened(step="kept", phase="judge", num_parts=9, num_recorded=0)]], 2
    )
    numbers = {"judge/parts": 1.0, "judge/kept": 2.0, "judge/dropped": 0.0, "judge/failed": 0.0}
    fill_outbox(run, [[NumbersReported(step="kept", at_step=1, numbers=numbers)]] * num_messages, attempt)
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(lambda number: _put_chunk(run, attempt, number), range(num_log_chunks)))
    assert num_chunks(run, attempt) == num_log_chunks


def _put_chunk(run: Run, attempt: int, number: int) -> None:
    put(
        run.store,
        f"{run.folder}/logs/{attempt}/driver/{number:08d}.txt",
        f"12:00:00  kept  running {number}\n".encode(),
    )


def seconds_of(words: tuple[str, ...], site: Path, repeats: int) -> float:
    """The median time of a command."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *words, "--site", str(site)], stdout=subprocess.DEVNULL, check=False
        )
        times.append(time.perf_counter() - started)
    return statistics.median(times)


@contextmanager
def remote_store(delay_seconds: float, logs: Path) -> Iterator[tuple[str, DelayingProxy]]:
    """The URL of an empty bucket behind a proxy; the environment leads to the server until `measure` changes it."""
    with s3_server(logs) as address:
        os.environ.update(environment(address))
        url = make_bucket(address, "reads")
        yield f"{url}/store", DelayingProxy(int(address.rpartition(":")[2]), delay_seconds)


def main() -> None:
    """Fill both stores, then time the commands on them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--messages", type=int, default=500)
    parser.add_argument("--chunks", type=int, default=1000)
    parser.add_argument("--delay", type=float, default=0.03, help="seconds")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    with tempfile.TemporaryDirectory(prefix="neo-reads-") as name:
        folder = Path(name)
        with remote_store(asked.delay, folder / "moto.txt") as (url, proxy):
            sites = {"empty": f"{folder}/empty", "folder": f"{folder}/store", "S3": url}
            for label, address in sites.items():
                site = folder / f"{label}.toml"
                site.write_text(f'store = "{address}"\nmlflow = "http://127.0.0.1:9"\n')
                open_store(Store(address))
                if label != "empty":
                    words = [sys.executable, "-m", "tests.pipelines.local_graph", "run", PIPELINE, "--site", str(site)]
                    subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
                    fill(Store(address), asked.runs, asked.messages, asked.chunks)
            os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{proxy.port}"
            bare_seconds = seconds_of(("list",), folder / "empty.toml", asked.repeats)
            print(f"neo list of an empty store: {bare_seconds:.2f} s\n")
            print(f"{'command':<24} {'folder':>8} {'S3':>8} {'requests':>9}")
            for command in COMMANDS:
                local, remote = (seconds_of(command, folder / f"{label}.toml", asked.repeats) for label in STORES)
                proxy.num_requests = 0
                seconds_of(command, folder / "S3.toml", 1)
                print(f"neo {' '.join(command):<20} {local:>8.2f} {remote:>8.2f} {proxy.num_requests:>9}")


if __name__ == "__main__":
    main()
