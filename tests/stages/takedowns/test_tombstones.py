"""Which rows some lists take, beside brute force over what was typed; lists are digests, whatever their size."""

import hashlib
import random

import pyarrow as pa
import pytest

from pipelines.takedowns.records import keep_list
from pipelines.takedowns.typed_list import TypedList, list_bytes
from stages.store.errors import StoreError
from stages.store.store import Store
from stages.takedowns.lists import ENTRY_BYTES, entries_of, list_key, read_list
from stages.takedowns.tombstones import Tombstones


def kept(store: Store, *things: tuple[str, str]) -> str:
    """A list of these, in the store."""
    typed = TypedList()
    for number, (kind, value) in enumerate(things, start=1):
        typed.add(number, kind, value)
    assert not typed.faults, typed.faults
    return keep_list(store, list_bytes(typed))


def sha(text: str, size: int = 32) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:size]


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


def table(num_rows: int) -> pa.Table:
    numbers = range(num_rows)
    return pa.table(
        {
            "sample_id": pa.array([sha(f"id{n}", 16) for n in numbers], pa.binary(16)),
            "url": [None if n % 11 == 10 else f"https://h{n % 7}.example.org/{n}.jpg" for n in numbers],
            "caption": [f"picture {n}" for n in numbers],
            "sha256": pa.array([None if n % 5 == 4 else sha(f"picture{n}") for n in numbers], pa.binary(32)),
            "reference": [f"folder/{n}.jpg" for n in numbers],
        }
    )


@pytest.mark.parametrize("num_rows", [50, 5000])
def test_rows_are_those_of_brute_force(store: Store, num_rows: int) -> None:
    rows, draw = table(num_rows), random.Random(7)
    some = {kind: draw.sample(range(num_rows), num_rows // 10) for kind in ("url", "picture", "sample", "caption")}
    urls, hashes = rows["url"].to_pylist(), rows["sha256"].to_pylist()
    things = [("url", urls[n].replace("https", "http")) for n in some["url"] if urls[n]]
    things += [("picture", hashes[n].hex()) for n in some["picture"] if hashes[n]]
    things += [("sample", sha(f"id{n}", 16).hex()) for n in some["sample"]]
    things += [("caption", f"picture {n}") for n in some["caption"]]
    things += [("domain", "h3.example.org"), ("url", "folder/1.jpg")]
    lists = kept(store, *things[: len(things) // 2]), kept(store, *things[len(things) // 2 :])
    expected = {n for n in some["url"] if urls[n]} | {n for n in some["picture"] if hashes[n]}
    expected |= {*some["sample"], *some["caption"], 1} | {n for n in range(num_rows) if urls[n] and n % 7 == 3}
    found = Tombstones(store, lists).rows_of(rows)
    assert {n for n in range(num_rows) if found[n]} == expected
    assert Tombstones(store, ()).rows_of(rows).sum() == 0 and not Tombstones(store, ())


def test_a_host_takes_what_is_below_it_and_nothing_beside_it(store: Store) -> None:
    urls = ["http://example.org/a", "HTTPS://cdn.Example.ORG:8080/a", "http://notexample.org/a", "http://org/", "x"]
    rows = pa.table({"url": pa.array([*urls, None, " http://example.net/b "], pa.string())})
    found = Tombstones(store, (kept(store, ("domain", "example.org"), ("url", "http://example.net/b")),)).rows_of(rows)
    assert found.tolist() == [True, True, False, False, False, False, True]


def test_a_list_is_digests_named_by_its_bytes(store: Store) -> None:
    one = kept(store, ("domain", "private.example"), ("url", "http://private.example/me.jpg"))
    hosts = [("domain", "Private.example"), ("domain", "private.example")]
    other = kept(store, ("url", "http://private.example/me.jpg"), *hosts)
    data = read_list(store, one)
    assert one == other and len(data) == 3 * ENTRY_BYTES and b"private" not in data
    entries = entries_of([data])
    assert sorted(entries["kind"].tolist()) == [b"d", b"u", b"u"]
    path = store.folder / list_key(one)
    path.chmod(0o644)
    path.write_bytes(data[:-1] + b"?")
    with pytest.raises(StoreError, match="is damaged: it says what was taken down"):
        read_list(store, one)
    path.unlink()
    with pytest.raises(StoreError, match="is missing"):
        read_list(store, one)
