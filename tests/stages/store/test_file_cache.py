"""The cache of a machine: bounded, and shared by processes that are killed or stopped at any instant."""

import fcntl
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import pytest

from stages.store import file_cache
from stages.store.errors import StoreError
from stages.store.file_cache import FileCache, machine_cache

SIZE = 1000
"""Bytes of one copy."""


def write(file: BinaryIO) -> None:
    file.write(b"x" * SIZE)


def use(cache: FileCache, *names: str) -> None:
    for name in names:
        with cache.file(name, SIZE, write) as path:
            assert path.read_bytes() == b"x" * SIZE
        time.sleep(0.002)  # file times are milliseconds apart on some kernels


def copies(cache: FileCache) -> set[str]:
    return {path.name for path in cache.folder.iterdir()} - {"index.json"}


def size_of(path: Path) -> int:
    """0 where another process has just removed it."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


CHILD = """
import os, random, sys, time
from pathlib import Path
from stages.store.file_cache import FileCache
folder, what, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
cache = FileCache(Path(folder), 10_000)

def slowly(file):
    file.write(b"y" * 500)
    file.flush()
    print("filling", flush=True)
    time.sleep(3600)

def content(number):
    return bytes([number]) * 1000

def use(number):
    with cache.file(f"c{number:02d}", 1000, lambda file: file.write(content(number))) as path:
        for _ in range(3):
            time.sleep(random.random() * 0.004)
            assert path.read_bytes() == content(number), number

if what == "hold":
    with cache.file("held", 1000, lambda file: file.write(b"x" * 1000)) as path:
        print("holding", flush=True)
        sys.stdin.read()
elif what == "fill":
    with cache.file("half", 1000, slowly):
        pass
else:
    random.seed(seed)
    print("begun", flush=True)
    end = time.monotonic() + float(what)
    while time.monotonic() < end:
        use(random.randrange(40))
"""


@pytest.fixture
def children(tmp_path: Path) -> Iterator["Children"]:
    with Children(tmp_path / "cache") as started:
        yield started


class Children(ExitStack):
    """Processes with the same cache, of ten copies."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def start(self, what: str, seed: int = 0) -> "subprocess.Popen[str]":
        """Start one, which holds a copy, fills one for ever, or uses copies for some seconds; it has begun."""
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(self.folder), what, str(seed)],
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.callback(process.wait)
        self.callback(process.kill)
        assert process.stdout is not None
        assert process.stdout.readline()
        return process


def test_what_was_used_least_recently_goes_first(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache", 4 * SIZE)
    use(cache, "a", "b", "c", "d")
    assert copies(cache) == {"a", "b", "c", "d"}
    use(cache, "a", "e")
    assert copies(cache) == {"d", "a", "e"}, "below the limit, so that the next copy need not count all again"


def test_what_is_in_use_stays_and_a_cache_over_its_limit_works_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = FileCache(tmp_path / "cache", 2 * SIZE)
    with ExitStack() as used, caplog.at_level(logging.WARNING):
        paths = [used.enter_context(cache.file(name, SIZE, write)) for name in "abcd"]
        assert all(path.read_bytes() == b"x" * SIZE for path in paths)
        (record,) = caplog.records
        assert "because living processes use them; set NEO_CACHE_BYTES" in record.getMessage()
    use(cache, "e")
    assert copies(cache) == {"e"}


def test_a_copy_that_another_process_uses_stays_until_that_is_killed(tmp_path: Path, children: Children) -> None:
    cache = FileCache(children.folder, 3 * SIZE)
    user = children.start("hold")
    use(cache, *"abcdef")
    assert "held" in copies(cache)
    user.kill()
    user.wait()
    use(cache, *"ghi")
    assert "held" not in copies(cache)


def test_a_killed_process_leaves_no_half_copy_and_the_next_one_fills_it(tmp_path: Path, children: Children) -> None:
    cache = FileCache(children.folder, 3 * SIZE)
    filler = children.start("fill")
    use(cache, "a", "b", "c")
    assert copies(cache) == {"half.draft", "c"}, "a draft counts as long as it will be, and its filler lives"
    filler.kill()
    filler.wait()
    use(cache, "half")
    assert "half" in copies(cache) and "half.draft" not in copies(cache)
    (cache.folder / "half").unlink()
    filler = children.start("fill")
    filler.kill()
    filler.wait()
    use(cache, "d", "e", "f")
    assert not [name for name in copies(cache) if name.endswith("draft")]


def test_a_copy_under_way_is_waited_for_and_a_stopped_process_is_not(
    tmp_path: Path, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FileCache(children.folder, 3 * SIZE)
    filler = children.start("fill")
    filler.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(file_cache, "STALLED_SECONDS", 1.0)
    began_seconds = time.monotonic()
    use(cache, "half")
    assert 0.5 < time.monotonic() - began_seconds < 10
    filler.send_signal(signal.SIGCONT)
    use(cache, "half")


def test_processes_that_fill_and_evict_at_once_and_are_killed_read_what_was_written(
    tmp_path: Path, children: Children
) -> None:
    draw = random.Random(7)
    victims = [children.start("30", seed) for seed in range(3)]
    others = [children.start("8", seed) for seed in (10, 11)]
    deadline_seconds = time.monotonic() + 8
    while time.monotonic() < deadline_seconds:
        time.sleep(draw.random() * 0.4)
        victim = victims.pop(draw.randrange(len(victims)))
        victim.kill()
        victim.wait()
        victims.append(children.start("30", draw.randrange(1000)))
        held = sum(size_of(path) for path in children.folder.iterdir() if path.name != "index.json")
        assert held <= 10_000 + 5 * SIZE, "ten copies, and at the very most one more in the hands of each"
    assert [other.wait() for other in others] == [0, 0]
    for victim in victims:
        victim.kill()
        victim.wait()
    cache = FileCache(children.folder, 10_000)
    (cache.folder / "index.json").write_text('{"num_by')  # torn
    use(cache, "last")
    assert not [name for name in copies(cache) if name.endswith("draft")]
    assert len(copies(cache)) <= 10


def test_a_copy_of_another_size_is_fetched_again(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache", 3 * SIZE)
    use(cache, "a")
    (cache.folder / "a").write_bytes(b"")
    use(cache, "a")


def test_an_error_while_filling_leaves_nothing_and_is_raised(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache", 3 * SIZE)

    def fail(file: BinaryIO) -> None:
        file.write(b"half")
        raise ValueError("the store is away")

    with pytest.raises(ValueError, match="away"), cache.file("a", SIZE, fail):
        pass
    assert copies(cache) == set()
    use(cache, "a", "b", "c")
    assert copies(cache) == {"a", "b", "c"}


def test_the_limit_is_the_variable_or_a_share_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FileCache(tmp_path / "cache")
    use(cache, "a", "b", "c")
    monkeypatch.setenv("NEO_CACHE_BYTES", str(2 * SIZE))
    use(cache, "d")
    assert copies(cache) == {"d"}
    monkeypatch.setenv("NEO_CACHE_BYTES", "2 GB")
    with pytest.raises(StoreError, match="NEO_CACHE_BYTES = '2 GB' is no number of bytes"):
        use(cache, "e")
    monkeypatch.delenv("NEO_CACHE_BYTES")
    use(cache, "e")
    assert machine_cache().folder.name == f"neo-cache-{os.geteuid()}"


def test_without_locks_each_use_has_a_copy_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(handle: int, how: int) -> None:
        raise OSError("no locks here, as on some parallel file systems")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    cache = FileCache(tmp_path / "cache", SIZE)
    with cache.file("a", SIZE, write) as one, cache.file("a", SIZE, write) as other:
        assert one != other and one.read_bytes() == other.read_bytes() == b"x" * SIZE
    assert copies(cache) == set()
