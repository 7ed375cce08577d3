"""Indexes over real tables beside brute force over the same tables; whatever is broken off, killed or deleted."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.local import make
from pipelines.indexes import build, entries, look_up, pieces
from pipelines.indexes.build import forget_indexes, make_indexes, read_parts
from pipelines.indexes.look_up import Index, open_index
from pipelines.indexes.pieces import DamagedIndexError
from pipelines.indexes.records import folder_of, head_key
from pipelines.indexes.subjects import (
    DOMAINS,
    IDS,
    IN_SAMPLES,
    NAMES,
    PICTURES,
    bytes_digest,
    name_digest,
)
from stages.artifacts.artifact import Artifact
from stages.store import fault_points
from stages.store.errors import StoreError
from stages.store.store import Store
from tests.worlds.listed_pairs import ListedPairsRecipe, list_pairs, table_of

RECIPE = ListedPairsRecipe(num_pairs=1500, num_rows_per_part=100)
STEP = list_pairs.bind("pairs", RECIPE)


@pytest.fixture(scope="module", autouse=True)
def small_pieces() -> Iterator[None]:
    """Many groups, pieces and slots, out of few pairs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entries, "ENTRIES_PER_PIECE", 200)
        patch.setattr(entries, "ENTRIES_PER_SLOT", 8)
        patch.setattr(build, "ROWS_PER_GROUP", 500)
        yield


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Pairs with indexes that are only read."""
    pairs = make(STEP, Store(tmp_path_factory.mktemp("store")))
    make_indexes(pairs.store, pairs.head)
    return pairs


@pytest.fixture
def own(pairs: Artifact, tmp_path: Path) -> Artifact:
    """A copy with indexes, to be changed."""
    shutil.copytree(pairs.store.url, tmp_path / "store")
    return Artifact(Store(tmp_path / "store"), pairs.head)


def rows() -> list[dict[str, Any]]:
    return [
        {"number": first // 100, **row} for first in range(0, 1500, 100) for row in table_of(RECIPE, first).to_pylist()
    ]


def opened(pairs: Artifact, subject: str) -> Index:
    index = open_index(pairs.store, pairs.head, subject)
    assert index is not None
    return index


def test_each_index_finds_what_the_tables_hold_one_by_one_and_all_at_once(pairs: Artifact) -> None:
    made = make_indexes(pairs.store, pairs.head)
    assert [one.subject for one in made.indexes] == [*IN_SAMPLES] and made.num_parts == 15
    assert all(len(one.pieces) >= 4 for one in made.indexes)
    wanted: dict[str, dict[int, set[int]]] = {NAMES: {}, IDS: {}, PICTURES: {}}
    for row in rows():
        wanted[NAMES].setdefault(name_digest(row["url"]), set()).add(row["number"])
        wanted[IDS].setdefault(bytes_digest(row["sample_id"]), set()).add(row["number"])
        if row["sha256"] is not None:
            wanted[PICTURES].setdefault(bytes_digest(row["sha256"]), set()).add(row["number"])
    for subject, parts in wanted.items():
        index = opened(pairs, subject)
        assert {digest: set(index.find(digest)) for digest in parts} == parts
        digests = np.array([*parts, *range(1, 200)], np.uint64)
        numbers, found = index.find_many(digests)
        got: dict[int, set[int]] = {}
        for number, part in zip(numbers.tolist(), found.tolist(), strict=True):
            got.setdefault(int(digests[number]), set()).add(part)
        assert got == parts
    assert {opened(pairs, NAMES).parts[part].part for part in range(15)} == {f"{n:05d}" for n in range(15)}


def test_domains_name_the_parts_that_hold_them(pairs: Artifact) -> None:
    by_domain: dict[str, set[int]] = {}
    for row in rows():
        by_domain.setdefault(".".join(row["url"].split("/")[2].split(".")[1:]), set()).add(row["number"])
    index = opened(pairs, DOMAINS)
    assert {name: set(index.find(name_digest(name))) for name in by_domain} == by_domain


def test_ids_that_begin_alike_are_one_stretch(pairs: Artifact) -> None:
    ids = sorted(row["sample_id"] for row in rows())
    low, high = bytes_digest(b"\x30" + b"\0" * 7), bytes_digest(b"\x5f" + b"\xff" * 7)
    known, parts = opened(pairs, IDS).find_between(low, high)
    assert len(known) == len(parts) == sum(b"\x30" <= one[:1] <= b"\x5f" for one in ids)


def test_a_row_of_the_source_is_a_part_and_a_row_in_it(pairs: Artifact) -> None:
    tables = read_parts(pairs.store, folder_of(pairs.head))
    assert [tables.place_of(row) for row in (0, 99, 100, 1499)] == [(0, 0), (0, 99), (1, 0), (14, 99)]


def test_what_was_broken_off_is_continued_and_comes_out_the_same(
    own: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_indexes(own.store, own.head)
    forget_indexes(own.store, own.head)
    assert list(own.store.keys(f"{folder_of(own.head)}/")) == []
    trace = tmp_path / "trace"
    trace.mkdir()
    for occurrence in (1, 4, 9, 12):
        monkeypatch.setattr(fault_points, "_passed", type(fault_points._passed)())
        monkeypatch.setenv("NEO_FAULT", f"index.uploaded:before@{occurrence}=raise")
        with pytest.raises(OSError, match="asked for"):
            make_indexes(own.store, own.head)
        assert open_index(own.store, own.head, NAMES) is None
    monkeypatch.delenv("NEO_FAULT")
    monkeypatch.setenv("NEO_FAULT_TRACE", str(trace))
    assert make_indexes(own.store, own.head).indexes == made.indexes
    written = (trace / f"{os.getpid()}.txt").read_text()
    assert written.count("index.recorded:before") == 4 and "parts.parquet" not in written
    assert not any("/runs/" in key for key in own.store.keys(f"{folder_of(own.head)}/"))


def test_making_them_twice_writes_nothing(own: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_indexes(own.store, own.head)
    monkeypatch.setenv("NEO_FAULT", "index.uploaded:before=raise")
    assert make_indexes(own.store, own.head).indexes == made.indexes


def test_a_piece_that_is_gone_or_cut_is_told_with_what_to_do(own: Artifact) -> None:
    piece = Path(own.store.url) / folder_of(own.head) / NAMES / "00000.bin"
    piece.write_bytes(piece.read_bytes()[:-7])
    digest = min(name_digest(row["url"]) for row in rows())
    with pytest.raises(StoreError, match="`neo index list_pairs/[0-9a-f]*` makes it again"):
        opened(own, NAMES).find(digest)
    piece.unlink()
    with pytest.raises(StoreError, match=r"00000\.bin is missing"):
        opened(own, NAMES).find(digest)


def test_an_unreadable_head_counts_as_no_index(own: Artifact) -> None:
    (Path(own.store.url) / head_key(folder_of(own.head), IDS)).write_text("{")
    assert open_index(own.store, own.head, IDS) is None


def test_mapped_pieces_are_bounded(own: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "MAX_MAPPED", 2)
    index = opened(own, IDS)
    for row in rows():
        assert row["number"] in index.find(bytes_digest(row["sample_id"]))
    assert len(index._mapped) == 2


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = bytes(byte ^ 0xFF for byte in data[len(data) // 2 :])
    path.write_bytes(data)


def test_a_slot_with_other_entries_is_never_taken_for_an_answer(own: Artifact) -> None:
    folder = Path(own.store.url) / folder_of(own.head)
    for piece in (folder / IDS).glob("*.bin"):
        damage(piece)
    digests = [bytes_digest(row["sample_id"]) for row in rows()]
    wanted = {bytes_digest(row["sample_id"]): row["number"] for row in rows()}
    index, num_told = opened(own, IDS), 0
    for digest in digests:
        try:
            assert wanted[digest] in index.find(digest)
        except DamagedIndexError as error:
            num_told += "has other entries in slot" in str(error)
    assert num_told > 500
    with pytest.raises(DamagedIndexError):
        index.find_many(np.array(digests, np.uint64))
    with pytest.raises(DamagedIndexError):
        index.find_between(0, 2**64 - 1)
    (folder / "parts.parquet").write_bytes(b"PAR1")
    with pytest.raises(DamagedIndexError, match="has other bytes than were written"):
        _ = opened(own, NAMES).parts


def test_what_is_damaged_is_found_and_made_again_and_nothing_else(own: Artifact, tmp_path: Path) -> None:
    made, folder = make_indexes(own.store, own.head), Path(own.store.url) / folder_of(own.head)
    intact = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    kept = (folder / NAMES / "00001.bin").stat().st_mtime_ns
    damage(folder / NAMES / "00002.bin")
    (folder / IDS / "00000.bin").unlink()
    said: list[str] = []
    assert make_indexes(own.store, own.head, progress=said.append).indexes == made.indexes
    assert "pieces there are compared with their digests" in said[0]
    assert said[1:3] == ["piece 2 of names is damaged and made again", "piece 0 of ids is damaged and made again"]
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == intact
    assert (folder / NAMES / "00001.bin").stat().st_mtime_ns == kept
    damage(folder / "parts.parquet")
    assert make_indexes(own.store, own.head, progress=said.append).indexes == made.indexes
    assert said[-2] == "the list of parts is damaged and made again"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == intact


def test_runs_that_a_kill_left_behind_the_heads_are_deleted(own: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_indexes(own.store, own.head)
    monkeypatch.setattr(fault_points, "_passed", type(fault_points._passed)())
    monkeypatch.setenv("NEO_FAULT", "index.deleted:before=raise")
    with pytest.raises(OSError, match="asked for"):
        make_indexes(own.store, own.head)
    monkeypatch.delenv("NEO_FAULT")
    assert opened(own, NAMES) and any("/runs/" in key for key in own.store.keys(f"{folder_of(own.head)}/"))
    make_indexes(own.store, own.head)
    assert not any("/runs/" in key for key in own.store.keys(f"{folder_of(own.head)}/"))


def test_near_digests_are_the_same_by_slots_and_by_whole_pieces(
    pairs: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, held = opened(pairs, IDS), {bytes_digest(row["sample_id"]): row["number"] for row in rows()}
    shift, asked = 64 - index.layout.known_bits, next(iter(held)) ^ 0b1011 << 60
    for bits in (4, 10, 16):
        near = {number for one, number in held.items() if ((one ^ asked) >> shift).bit_count() <= bits}
        assert index.find_near(asked, bits) == sorted(near)
        with monkeypatch.context() as patch:
            patch.setattr(look_up, "MAX_NEAR_SLOTS", 0)
            assert index.find_near(asked, bits) == sorted(near)
