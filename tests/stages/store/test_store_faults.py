"""The store on an object store that has a bad day: errors, lost answers, conflicts, cut bodies, lost permission.

A real S3 server behind a proxy that fails as it is asked to.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

import stages.store.exclusive_create
import stages.store.reader
from stages.store.errors import StoreDeniedError, StoreError, TornRecordError
from stages.store.file_cache import FileCache
from stages.store.local_files import copy_object, local_file
from stages.store.metadata import open_store
from stages.store.reader import CHUNK_BYTES
from stages.store.refs import read_ref, set_ref
from stages.store.store import Store
from tests.fault_proxy import ALWAYS, Fault, FaultProxy

NUM_WRITERS = 8
QUICK_RETRIES = {
    "max_retries": 3,
    "backoff": {"init_backoff": timedelta(milliseconds=5), "max_backoff": timedelta(milliseconds=20), "base": 2},
    "retry_timeout": timedelta(seconds=20),
}


UNFIT = (Fault.EXPIRED, Fault.FORBIDDEN, Fault.UNCONDITIONAL)
"""What no trying again can mend."""


@pytest.fixture
def store(bucket: str, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Behind the proxy, with as many retries as ever and less time between them."""
    monkeypatch.setattr(stages.store.reader, "RETRIES", QUICK_RETRIES)
    monkeypatch.setattr(stages.store.exclusive_create, "SECONDS_BETWEEN_TRIES", (0.01,) * 4)
    return Store(f"{bucket}/team")


@pytest.mark.parametrize(
    "fault", [fault for fault in Fault if fault not in UNFIT and fault is not Fault.EMPTY_LISTING], ids=lambda f: f.name
)
def test_a_create_succeeds_through_whatever_passes(store: Store, proxy: FaultProxy, fault: Fault) -> None:
    asked = proxy.ask(fault, "PUT", "/records/a.json", times=2)
    assert store.create("records/a.json", b"ours")
    assert asked.num_hits > 0
    assert store.read("records/a.json") == b"ours"
    assert not store.create("records/a.json", b"theirs")


@pytest.mark.parametrize("fault", [Fault.DROPPED_AFTER, Fault.BROKEN_AFTER, Fault.CONFLICT], ids=lambda f: f.name)
def test_the_bytes_do_not_decide_who_won(store: Store, proxy: FaultProxy, fault: Fault) -> None:
    """Two attempts write the same empty mark: the second, whose answer is lost, is not the winner."""
    assert store.create("outbox/1.sent", b"")
    proxy.ask(fault, "PUT", "/outbox/1.sent")
    assert not store.create("outbox/1.sent", b"")


@pytest.mark.parametrize("fault", [Fault.DROPPED_AFTER, Fault.BROKEN_AFTER, Fault.CONFLICT], ids=lambda f: f.name)
def test_one_of_many_racing_writers_of_equal_bytes_wins_though_answers_are_lost(
    store: Store, proxy: FaultProxy, fault: Fault
) -> None:
    proxy.ask(fault, "PUT", "/plan.json", times=NUM_WRITERS // 2)
    with ThreadPoolExecutor(NUM_WRITERS) as pool:
        won = list(pool.map(lambda _: store.create_json("plan.json", {"same": 1}), range(NUM_WRITERS)))
    assert won.count(True) == 1


def test_a_create_whose_every_answer_is_lost_is_decided_by_reading(store: Store, proxy: FaultProxy) -> None:
    proxy.ask(Fault.BROKEN_AFTER, "PUT", "/records/a.json", times=ALWAYS)
    assert store.create("records/a.json", b"ours")


def test_a_store_that_stays_broken_is_named_and_nothing_is_claimed(store: Store, proxy: FaultProxy) -> None:
    proxy.ask(Fault.BROKEN, "PUT", "/records/a.json", times=ALWAYS)
    with pytest.raises(StoreError, match=r"failed to create records/a\.json .*500.*run the command again"):
        store.create("records/a.json", b"ours")
    assert proxy.num_seen("PUT", "/records/a.json") == 1 + QUICK_RETRIES["max_retries"]
    assert store.read("records/a.json") is None


def test_conflicts_without_end_are_an_error_not_a_lost_race(store: Store, proxy: FaultProxy) -> None:
    proxy.ask(Fault.CONFLICT, "PUT", "/records/a.json", times=ALWAYS)
    with pytest.raises(StoreError, match="another write to it is in progress"):
        store.create("records/a.json", b"ours")


@pytest.mark.parametrize(
    "fault",
    [Fault.BROKEN, Fault.SLOW_DOWN, Fault.DROPPED, Fault.DROPPED_AFTER, Fault.BROKEN_AFTER, Fault.CUT],
    ids=lambda f: f.name,
)
def test_reading_and_writing_data_goes_on(store: Store, proxy: FaultProxy, fault: Fault, tmp_path: Path) -> None:
    """An upload of two chunks, then its size, a range, the whole, and a copy: each meets the fault once."""
    source = tmp_path / "rows.tar"
    source.write_bytes(bytes(range(256)) * (CHUNK_BYTES // 256 + 5))
    for method in ("PUT", "POST", "HEAD", "GET"):
        if (fault, method) != (Fault.CUT, "POST"):
            proxy.ask(fault, method, "/rows.tar")
    store.upload(source, "rows.tar")
    assert store.read_range("rows.tar", 300, 20) == bytes(range(44, 64))
    proxy.ask(fault, "GET", "/rows.tar")
    assert store.read("rows.tar") == source.read_bytes()
    proxy.ask(fault, "GET", "/rows.tar")
    with local_file(store, "rows.tar", source.stat().st_size, FileCache(tmp_path / "cache")) as path:
        assert path.read_bytes() == source.read_bytes()
    proxy.ask(fault, "GET", "/rows.tar")
    copy_object(store, "rows.tar", tmp_path / "copy.tar")
    assert (tmp_path / "copy.tar").read_bytes() == source.read_bytes()


def test_an_upload_that_meets_another_write_is_tried_again(store: Store, proxy: FaultProxy, tmp_path: Path) -> None:
    source = tmp_path / "facts.json"
    source.write_bytes(b"{}")
    conflict = proxy.ask(Fault.CONFLICT, "PUT", "/facts.json", times=2)
    store.upload(source, "facts.json")
    assert conflict.num_hits == 2
    assert store.read("facts.json") == b"{}"


def test_an_upload_that_the_engine_gives_up_is_an_error_and_leaves_nothing(
    store: Store, proxy: FaultProxy, tmp_path: Path
) -> None:
    """The engine does not ask again where the answer that begins an upload of several chunks is cut."""
    source = tmp_path / "rows.tar"
    source.write_bytes(bytes(CHUNK_BYTES + 5))
    proxy.ask(Fault.CUT, "POST", "/rows.tar")
    with pytest.raises(StoreError, match=r"failed to upload rows\.tar .*run the command again"):
        store.upload(source, "rows.tar")
    assert store.size_bytes("rows.tar") is None


def test_a_body_cut_without_a_word_is_never_taken_for_the_whole(
    store: Store, proxy: FaultProxy, tmp_path: Path
) -> None:
    """Half of the bytes, announced as all of them: nothing in the answer says so."""
    store.create_json("record.json", {"phase": "write", "part": "00001"})
    store.create("rows.tar", bytes(1000))
    proxy.ask(Fault.SHORTENED, "GET", times=ALWAYS)
    with pytest.raises(StoreError, match="ends at byte 110, not 120"):
        store.read_range("rows.tar", 100, 20)
    cache = FileCache(tmp_path / "cache")
    with pytest.raises(StoreError, match="ends at byte 500, not 1000"), local_file(store, "rows.tar", 1000, cache):
        pass
    assert [path.name for path in cache.folder.iterdir()] == ["index.json"]
    with pytest.raises(StoreError, match="ends at byte 500, not 1000"):
        copy_object(store, "rows.tar", tmp_path / "copy.tar")
    assert not (tmp_path / "copy.tar").exists()
    with pytest.raises(StoreError, match="cut short on its way") as caught:
        store.read_json("record.json")
    assert not isinstance(caught.value, TornRecordError), "else the record would be moved aside"


@pytest.mark.parametrize("fault", [Fault.DROPPED_AFTER, Fault.BROKEN_AFTER, Fault.SLOW_DOWN], ids=lambda f: f.name)
def test_moving_aside_deleting_and_pointing_survive_lost_answers(store: Store, proxy: FaultProxy, fault: Fault) -> None:
    store.create("record.json", b"torn")
    for method in ("PUT", "POST"):
        proxy.ask(fault, method)
    assert store.quarantine("record.json") == "record.json.torn-0"
    assert (store.read("record.json"), store.read("record.json.torn-0")) == (None, b"torn")
    proxy.ask(fault, "POST")
    store.delete("record.json.torn-0")
    assert list(store.keys("record.json")) == []
    proxy.ask(fault, "PUT")
    assert set_ref(store, "tiny/kept", {"run": "a"}) == 0
    assert read_ref(store, "tiny/kept") == {"run": "a"}


@pytest.mark.parametrize("fault", [Fault.FORBIDDEN, Fault.EXPIRED], ids=lambda f: f.name)
def test_lost_permission_is_told_at_once_and_not_knocked_at(
    store: Store, proxy: FaultProxy, fault: Fault, tmp_path: Path
) -> None:
    store.create("records/a.json", b"{}")
    source = tmp_path / "a.tar"
    source.write_bytes(b"tar")
    proxy.ask(fault, times=ALWAYS)
    num_before = len(proxy.seen)
    attempts = [
        lambda: store.create("records/b.json", b"{}"),
        lambda: store.read("records/a.json"),
        lambda: store.read_json("records/a.json"),
        lambda: store.upload(source, "a.tar"),
        lambda: list(store.keys("records")),
        lambda: store.folders("records"),
        lambda: store.delete("records/a.json"),
    ]
    if fault is Fault.FORBIDDEN:  # a HEAD has no body that could say what else is wrong
        attempts += [
            lambda: store.size_bytes("records/a.json"),
            lambda: store.quarantine("records/a.json"),
            lambda: store.read_range("records/a.json", 0, 1),
        ]
    for attempt in attempts:
        with pytest.raises(StoreDeniedError, match="get valid credentials or permissions, then run the command again"):
            attempt()
    assert len(proxy.seen) - num_before == len(attempts), "one request each"


def test_a_bucket_that_does_not_exist_is_named(store: Store) -> None:
    for attempt in (
        lambda: open_store(Store("s3://no-such-bucket/team")),
        lambda: Store("s3://no-such-bucket/team").read("a"),
    ):
        with pytest.raises(
            StoreError, match="s3://no-such-bucket/team cannot be used: there is no such bucket; make it"
        ):
            attempt()


def test_permission_that_comes_back_lets_the_same_store_go_on(store: Store, proxy: FaultProxy) -> None:
    rule = proxy.ask(Fault.FORBIDDEN, times=ALWAYS)
    with pytest.raises(StoreDeniedError):
        store.create("records/a.json", b"{}")
    rule.times = 0
    assert store.create("records/a.json", b"{}")


def test_the_settings_given_to_the_engine_outlast_a_minute_of_trouble() -> None:
    """What tests shorten: the engine's own retries, and ours after conflicts."""
    assert stages.store.reader.RETRIES["max_retries"] >= 10
    assert stages.store.reader.RETRIES["retry_timeout"] >= timedelta(minutes=2)
    assert sum(stages.store.exclusive_create.SECONDS_BETWEEN_TRIES) > 5


def test_a_storm_of_errors_over_many_creates_loses_and_doubles_nothing(
    store: Store, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every record of 60 is contended by two writers, while faults of all kinds come down, perhaps all on one."""
    monkeypatch.setattr(stages.store.reader, "RETRIES", {**QUICK_RETRIES, "max_retries": 40})
    monkeypatch.setattr(stages.store.exclusive_create, "SECONDS_BETWEEN_TRIES", (0.01,) * 16)
    for fault in (Fault.BROKEN, Fault.SLOW_DOWN, Fault.CONFLICT, Fault.DROPPED_AFTER, Fault.BROKEN_AFTER):
        proxy.ask(fault, "PUT", times=8)
    won: list[int] = []
    lock = threading.Lock()

    def write(number: int) -> None:
        if store.create(f"records/{number % 60}.json", b"same"):
            with lock:
                won.append(number % 60)

    with ThreadPoolExecutor(NUM_WRITERS) as pool:
        list(pool.map(write, range(120)))
    assert sorted(won) == list(range(60))
