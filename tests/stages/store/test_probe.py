"""A store is probed when it is first opened; one that lets writers overwrite each other is refused."""

from pathlib import Path

import pytest

from stages.store.errors import StoreError
from stages.store.metadata import LAYOUT_VERSION, open_store
from stages.store.probe import ProbeResult, probe
from stages.store.refs import set_ref
from stages.store.store import Store
from tests.fault_proxy import ALWAYS, Fault, FaultProxy

FIT = ProbeResult(exclusive_creates=True, reads_back=True)


@pytest.fixture
def heedless(bucket: str, proxy: FaultProxy) -> Store:
    """A server that does not know conditional writes: it takes every one."""
    proxy.ask(Fault.UNCONDITIONAL, "PUT", times=ALWAYS)
    return Store(f"{bucket}/old")


def test_a_folder_and_an_s3_server_are_fit_and_nothing_is_left_of_the_probe(tmp_path: Path, bucket: str) -> None:
    for store in (Store(tmp_path / "store"), Store(bucket)):
        assert probe(store) == FIT
        assert FIT.problem == ""
        assert list(store.keys("probes")) == []


def test_metadata_keeps_what_was_seen_at_the_first_opening(bucket: str, proxy: FaultProxy) -> None:
    store = Store(bucket)
    metadata = open_store(store)
    assert (metadata.layout, metadata.probe) == (LAYOUT_VERSION, FIT)
    num_before = len(proxy.seen)
    assert open_store(Store(bucket)) == metadata
    assert len(proxy.seen) == num_before + 1, "one read, no probe"


def test_a_server_that_takes_every_write_is_found_and_refused(heedless: Store) -> None:
    assert probe(heedless) == ProbeResult(exclusive_creates=False, reads_back=True)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"two creates of one key both succeeded.*`single_writer = true`"):
            open_store(heedless)


def test_a_single_writer_overwrites_nothing_there(heedless: Store) -> None:
    metadata = open_store(heedless, single_writer=True)
    for store in (heedless, Store(heedless.url)):
        assert not store.has_conditional_writes
        assert not store.create("store.json", b"other")
    assert open_store(heedless, single_writer=True) == metadata
    assert heedless.create("records/a.json", b"first")
    assert not Store(heedless.url).create("records/a.json", b"second")
    assert heedless.read("records/a.json") == b"first"
    assert [set_ref(heedless, "tiny", {"run": run}) for run in "ab"] == [0, 1]


def test_a_probe_does_not_rely_on_the_metadata(heedless: Store) -> None:
    """`create` looks before it writes there, so it would seem to be exclusive."""
    open_store(heedless, single_writer=True)
    assert not probe(Store(heedless.url)).exclusive_creates


def test_a_store_that_gives_back_other_bytes_is_refused_for_a_single_writer_as_well(
    bucket: str, proxy: FaultProxy
) -> None:
    proxy.ask(Fault.SHORTENED, "GET", times=ALWAYS)
    found = probe(Store(bucket))
    assert not found.reads_back
    assert "does not read back the same" in found.problem
    proxy.rules[0].times = proxy.rules[0].num_hits + 2
    with pytest.raises(StoreError, match="cannot be used: what is written does not read back the same"):
        open_store(Store(bucket), single_writer=True)
