"""The store on a local folder and on a real S3 server: exclusive creates, durable bytes, numbered refs."""

import os
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.store.errors import StoreError
from stages.store.file_cache import FileCache
from stages.store.local_files import copy_object, local_file
from stages.store.metadata import open_store
from stages.store.numbering import first_missing, num_keys
from stages.store.reader import CHUNK_BYTES
from stages.store.refs import read_ref, set_ref
from stages.store.store import Store

NUM_WRITERS = 16


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return Store(tmp_path / "store")
    return Store(request.getfixturevalue("bucket") + "/team/run")


def test_the_first_create_wins_and_its_bytes_stay(store: Store) -> None:
    assert store.create("records/a.json", b"first")
    assert not store.create("records/a.json", b"second")
    assert store.read("records/a.json") == b"first"
    assert store.read("records/b.json") is None


def test_one_of_many_racing_threads_wins(store: Store) -> None:
    with ThreadPoolExecutor(NUM_WRITERS) as pool:
        won = list(pool.map(lambda number: store.create("race", str(number).encode() * 1000), range(NUM_WRITERS)))
    assert won.count(True) == 1
    assert store.read("race") == str(won.index(True)).encode() * 1000


def test_one_of_many_racing_processes_wins(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        won = list(pool.map(partial(create_number, store), range(NUM_WRITERS)))
    assert won.count(True) == 1
    assert store.read("race") == str(won.index(True)).encode() * 1000


def create_number(store: Store, number: int) -> bool:
    return store.create("race", str(number).encode() * 1000)


def test_json_is_readable_and_sorted_and_a_torn_one_is_named(store: Store) -> None:
    assert store.create_json("plan.json", {"b": "é", "a": [1, None]})
    assert store.read("plan.json") == '{\n  "a": [\n    1,\n    null\n  ],\n  "b": "é"\n}\n'.encode()
    assert store.read_json("plan.json") == {"a": [1, None], "b": "é"}
    assert store.read_json("nothing.json") is None
    store.create("torn.json", b'{"phase": "wri')
    with pytest.raises(StoreError, match=r"torn\.json does not parse"):
        store.read_json("torn.json")
    with pytest.raises(ValueError, match="Out of range float"):
        store.create_json("nan.json", {"loss": float("nan")})


def test_a_record_set_aside_leaves_its_key_free(store: Store) -> None:
    for number in range(2):
        store.create("record.json", b"torn")
        assert store.quarantine("record.json") == f"record.json.torn-{number}"
        assert store.read("record.json") is None
    assert store.create("record.json", b"whole")


def test_an_upload_of_several_chunks_arrives_whole(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "pairs.tar"
    source.write_bytes(os.urandom(1024) * (CHUNK_BYTES // 1024 + 512))
    store.upload(source, "attempts/run-1/pairs.tar")
    assert store.size_bytes("attempts/run-1/pairs.tar") == source.stat().st_size > CHUNK_BYTES
    start = CHUNK_BYTES - 10
    expected = source.read_bytes()[start : start + 20]
    assert store.read_range("attempts/run-1/pairs.tar", start, 20) == expected
    assert store.read("attempts/run-1/pairs.tar") == source.read_bytes()


@pytest.mark.parametrize("start", [3, 70])
def test_a_range_beyond_the_end_is_refused_not_shortened(store: Store, start: int) -> None:
    store.create("rows.tar", b"12345")
    assert store.read_range("rows.tar", 3, 2) == b"45"
    with pytest.raises(StoreError, match=r"rows\.tar"):
        store.read_range("rows.tar", start, 5)


def test_what_is_missing_is_none_or_file_not_found(store: Store, tmp_path: Path) -> None:
    assert store.size_bytes("nothing") is None
    store.delete("nothing")
    with pytest.raises(FileNotFoundError):
        store.read_range("nothing", 0, 1)
    with pytest.raises(FileNotFoundError), local_file(store, "nothing", 1, FileCache(tmp_path / "cache")):
        pass
    with pytest.raises(FileNotFoundError):
        copy_object(store, "nothing", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert list(store.keys("nothing")) == store.folders("nothing") == []


def test_keys_and_folders_are_listed_in_order_and_relative_to_the_store(store: Store) -> None:
    for key in ("runs/b/plan.json", "runs/a/events/2.json", "runs/a/events/1.json", "store.json"):
        store.create(key, b"{}")
    assert list(store.keys("runs")) == ["runs/a/events/1.json", "runs/a/events/2.json", "runs/b/plan.json"]
    assert store.folders("runs") == ["a", "b"]


def test_a_local_file_holds_the_bytes_and_is_fetched_once(store: Store, tmp_path: Path) -> None:
    store.create("model/weights.bin", b"weights")
    cache, fetched = FileCache(tmp_path / "cache"), []
    for _ in range(2):
        with local_file(store, "model/weights.bin", 7, cache) as path:
            assert path.read_bytes() == b"weights"
            fetched.append(path.stat().st_ino)
    assert fetched[0] == fetched[1]
    copy_object(store, "model/weights.bin", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"weights"


def test_two_stores_do_not_share_cached_copies(bucket: str, tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache")
    for name in (b"one", b"two"):
        store = Store(f"{bucket}/{name.decode()}")
        store.create("artifacts/a", name)
        with local_file(store, "artifacts/a", 3, cache) as path:
            assert path.read_bytes() == name


def test_the_highest_ref_wins_and_names_do_not_mix(store: Store) -> None:
    for number in range(12):
        assert set_ref(store, "tiny/evaluate", {"version": number}) == number
    assert set_ref(store, "tiny", {"run": "x"}) == 0
    assert set_ref(store, "evaluate", {"run": "y"}) == 0
    assert read_ref(store, "tiny/evaluate") == {"version": 11}
    assert read_ref(store, "tiny") == {"run": "x"}
    assert read_ref(store, "evaluat") is None


def test_a_torn_ref_counts_as_if_it_had_not_been_written(store: Store) -> None:
    set_ref(store, "tiny/kept", {"version": 0})
    store.create("refs/tiny/kept/1.json", b'{"vers')
    assert read_ref(store, "tiny/kept") == {"version": 0}
    assert set_ref(store, "tiny/kept", {"version": 2}) == 2
    assert read_ref(store, "tiny/kept") == {"version": 2}


def test_a_create_whose_link_was_made_though_it_was_refused_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As over NFS, where the answer to a first try is lost and the second finds what the first has made."""
    store, link = Store(tmp_path / "store"), os.link

    def link_twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", link_twice)
    assert store.create("records/a.json", b"ours")
    assert not store.create("records/a.json", b"theirs")
    assert store.read("records/a.json") == b"ours"
    assert [path.name for path in (tmp_path / "store/records").iterdir()] == ["a.json"]


def test_a_draft_that_a_killed_writer_left_is_no_object(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.create("records/a.json", b"{}")
    (tmp_path / "store/records/b.json#123456789").write_bytes(b"{")
    assert list(store.keys("records")) == ["records/a.json"]
    assert store.create("records/b.json", b"{}")


def test_racing_refs_each_get_a_number_of_their_own(store: Store) -> None:
    with ThreadPoolExecutor(NUM_WRITERS) as pool:
        numbers = list(pool.map(lambda n: set_ref(store, "tiny/kept", {"writer": n}), range(NUM_WRITERS)))
    assert sorted(numbers) == list(range(NUM_WRITERS))
    assert read_ref(store, "tiny/kept") == {"writer": numbers.index(NUM_WRITERS - 1)}


@given(st.integers(0, 5000))
def test_the_first_missing_number_is_found_in_few_questions(num_existing: int) -> None:
    asked: list[int] = []

    def exists(number: int) -> bool:
        asked.append(number)
        return number < num_existing

    assert first_missing(exists) == num_existing
    assert len(asked) <= 2 * (num_existing + 1).bit_length() + 1


@pytest.mark.parametrize("num_existing", [0, 1, 7, 8, 9, 70, 600])
def test_keys_are_counted_in_few_round_trips(bucket: str, num_existing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    store, each, rounds = Store(bucket), Store.each, []

    def counting(self: Store, ask: object, about: list[str]) -> list[object]:
        rounds.append(len(about))
        return each(self, lambda key: 0 if int(key) < num_existing else None, about)

    monkeypatch.setattr(Store, "each", counting)
    assert num_keys(store, str) == num_existing
    assert len(rounds) <= 5 and sum(rounds) <= 33


def test_a_store_travels_by_its_url(store: Store) -> None:
    store.create("a", b"1")
    assert pickle.loads(pickle.dumps(store)).read("a") == b"1"  # noqa: S301
    assert b"writer" not in pickle.dumps(store), "secrets do not travel"


def test_opening_makes_one_identity_and_refuses_a_foreign_layout(store: Store) -> None:
    assert open_store(store) == open_store(Store(store.url))
    store.delete("store.json")
    store.create_json("store.json", {"uuid": "u", "layout": 99})
    with pytest.raises(StoreError, match="layout 99; this version reads 2"):
        open_store(store)


def test_a_create_reaches_the_disk_before_it_is_seen_and_then_its_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def record(handle: int) -> None:
        place = str(Path(f"/proc/self/fd/{handle}").readlink())
        if "#" in place:
            assert store.read("records/write/00000.json") is None
        synced.append(place.partition("#")[0])
        fsync(handle)

    store = Store(tmp_path / "store")
    store.create("seed", b"")
    monkeypatch.setattr(os, "fsync", record)
    store.create("records/write/00000.json", b"{}")
    expected = ["records/write/00000.json", "records/write", "records", ""]
    assert synced == [str(tmp_path / "store" / place).rstrip("/") for place in expected]
    synced.clear()
    (tmp_path / "a.tar").write_bytes(b"tar")
    store.upload(tmp_path / "a.tar", "attempts/a.tar")
    assert str(tmp_path / "store/attempts/a.tar") in synced
