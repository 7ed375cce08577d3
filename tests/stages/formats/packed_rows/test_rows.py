"""Reading rows: any by one checked read, damage named, and plain WebDataset finds in the tars what it expects."""

import gc
import pickle
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image

from cluster.local import make
from stages.artifacts.artifact import open_artifact
from stages.artifacts.kinds import ROW_INDEX_FILE, ROWS_FILE, Rows
from stages.formats.packed_rows.row_format import DocumentFacts, row_key, row_members
from stages.formats.packed_rows.rows import DamagedPartError, DamagedRowError, RowReader
from stages.formats.tar import TarWriter
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.store.local_folder import close_kept_files
from stages.store.store import Store
from tests.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.worlds.mixture_world import CHATS, KEPT, LLM, TEXTS

SHARES = {"pairs": 2, "text": 1, "chat": 1}
MIX = mix_samples.bind("mix", MixRecipe(shares=SHARES), {"pairs": KEPT, "text": TEXTS, "chat": CHATS})
RECIPE = PackRowsRecipe(max_row_tokens=512, min_pixels_px=1024, max_pixels_px=65_536, num_rows_per_part=4)


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return make(pack_rows.bind("rows", RECIPE, MIX, LLM), Store(tmp_path_factory.mktemp("store")))


@pytest.fixture
def rows(committed: Rows) -> Rows:
    """Opened anew, so that nothing is remembered from another test."""
    return open_artifact(committed.store, "pack_rows", committed.fingerprint, Rows)


def path_of(rows: Rows, part: int, name: str = ROWS_FILE) -> Path:
    return rows.store.folder / rows.phase("write")[part].file(name).key


class Damage:
    """Changes a file and puts it back."""

    def __init__(self, path: Path) -> None:
        self.path, self.bytes = path, path.read_bytes()

    def __enter__(self) -> "Damage":
        return self

    def __exit__(self, *_: object) -> None:
        self.path.write_bytes(self.bytes)

    def flip(self, offset: int) -> None:
        changed = bytearray(self.bytes)
        changed[offset] ^= 1
        self.path.write_bytes(changed)


def test_rows_are_numbered_through_all_parts(rows: Rows) -> None:
    reader = RowReader(rows)
    assert reader.num_rows == sum(part.facts["num_rows"] for part in rows.phase("write")) > 8
    assert reader.row_tokens == 512
    assert [row.number for row in reader] == list(range(reader.num_rows))
    for outside in (-1, reader.num_rows):
        with pytest.raises(IndexError, match=f"row {outside} is outside 0..{reader.num_rows - 1}"):
            reader.read(outside)


def test_the_index_says_what_the_rows_hold(rows: Rows) -> None:
    reader = RowReader(rows)
    index = reader.index().to_pylist()
    for entry, row in zip(index, reader, strict=True):
        assert entry["row"] == row.number
        assert entry["num_tokens"] == len(row.token_ids)
        assert entry["num_images"] == len(row.images)
        asked = row.supervised.copy()
        asked[row.document_offsets[:-1]] = False
        assert entry["num_supervised"] == asked.sum() > 0
        assert entry["sample_ids"] == row.sample_ids
        assert entry["sources"] == row.sources
    assert reader.index("row", "num_tokens").column_names == ["row", "num_tokens"]


def test_an_object_store_holds_and_gives_the_same_rows(
    committed: Rows, bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = make(pack_rows.bind("rows", RECIPE, MIX, LLM), Store(bucket))
    assert remote.manifest.content == committed.manifest.content
    here = RowReader(committed)
    with fault_proxy(s3_server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        there = RowReader(Rows(Store(bucket), remote.manifest))
        for number in (0, here.num_rows - 1):
            assert_one_request_gives(there, number, proxy)
            assert there.read(number).images == here.read(number).images
        proxy.ask(Fault.SHORTENED, "GET", ROWS_FILE)
        assert there.read(0).images == here.read(0).images
        remote.store.delete(remote.phase("write")[1].file(ROWS_FILE).key)
        with pytest.raises(DamagedRowError, match="the tar is missing"):
            there.read(5)


def assert_one_request_gives(reader: RowReader, number: int, proxy: FaultProxy) -> None:
    """One for the row wherever it lies; the first row of a part asks for its index and the size of its tar before."""
    for expected in ([("GET", ROW_INDEX_FILE), ("HEAD", ROWS_FILE), ("GET", ROWS_FILE)], [("GET", ROWS_FILE)]):
        proxy.seen.clear()
        reader.read(number)
        assert [(method, path.rsplit("/", 1)[-1]) for method, path in proxy.seen] == expected


def test_from_a_sample_to_its_rows_is_one_question(rows: Rows) -> None:
    reader = RowReader(rows)
    row = reader.read(5)
    assert 5 in reader.rows_of(row.sample_ids[0])
    assert reader.rows_of(bytes(16)) == []


def test_a_row_costs_one_range_read_and_one_index_wherever_it_lies(rows: Rows, monkeypatch) -> None:
    asked = []
    for name in ("read", "read_range"):
        plain = getattr(Store, name)

        def counted(store, key, *rest, plain=plain, **options):
            asked.append(key)
            return plain(store, key, *rest, **options)

        monkeypatch.setattr(Store, name, counted)
    last = RowReader(rows).num_rows - 1
    for number in (0, last):
        reader = RowReader(rows)
        asked.clear()
        reader.read(number)
        part = rows.phase("write")[number // 4]
        assert asked == [part.file(ROW_INDEX_FILE).key, part.file(ROWS_FILE).key]
        asked.clear()
        reader.read(number)
        assert asked == [part.file(ROWS_FILE).key]


@pytest.mark.parametrize("where", ["header", "picture", "tokens"])
def test_a_flipped_bit_is_found_in_its_row_and_in_no_other(rows: Rows, where: str) -> None:
    entry = RowReader(rows).index().to_pylist()[5]
    offset = {"header": 100, "picture": 600, "tokens": entry["size_bytes"] - 600}[where]
    with Damage(path_of(rows, 1)) as damage:
        damage.flip(entry["offset"] + offset)
        reader = RowReader(rows)
        with pytest.raises(DamagedRowError, match=r"row 5 in .*rows\.tar \(part 00001 of .* another digest.*neo audit"):
            reader.read(5)
        for number in (4, 6, 0):
            assert reader.read(number).number == number


@pytest.mark.parametrize("kept_bytes", [0.5, 0.99, 0])
def test_a_truncated_tar_is_found_when_it_is_opened(rows: Rows, kept_bytes: float) -> None:
    with Damage(path_of(rows, 1)) as damage:
        damage.path.write_bytes(damage.bytes[: int(kept_bytes * len(damage.bytes))])
        reader = RowReader(rows)
        with pytest.raises(DamagedRowError, match=r"row 4 in .* the tar is \d+ bytes of \d+ bytes"):
            reader.read(4)
        assert reader.read(0).number == 0


def test_a_tar_cut_under_an_open_reader_is_found_too(rows: Rows) -> None:
    reader = RowReader(rows)
    reader.read(4)
    with Damage(path_of(rows, 1)) as damage:
        damage.path.write_bytes(damage.bytes[:2000])
        with pytest.raises(DamagedRowError, match="row 7 in"):
            reader.read(7)


def test_a_tar_mended_under_an_open_reader_is_read_on(rows: Rows) -> None:
    """Mended as people do it: the damaged file moved away, a good copy put in its place."""
    path, reader = path_of(rows, 1), RowReader(rows)
    whole = path.read_bytes()
    entry = reader.index("offset").to_pylist()[5]
    path.write_bytes(whole[: entry["offset"] + 600] + b"?" + whole[entry["offset"] + 601 :])
    with pytest.raises(DamagedRowError, match="row 5 in"):
        reader.read(5)
    path.rename(path.with_suffix(".damaged"))
    path.write_bytes(whole)
    assert reader.read(5).number == 5
    assert reader.read(4).number == 4


def test_what_a_row_holds_outlives_its_reader(rows: Rows) -> None:
    """Pictures and tokens are views of what was read: later reads leave them as they are."""
    reader = RowReader(rows)
    kept = [(row.token_ids, [(image, bytes(image)) for image in row.images]) for row in reader]
    tokens = [token_ids.tolist() for token_ids, _ in kept]
    for row in reader:
        assert row.token_ids.tolist() == tokens[row.number]
    close_kept_files()
    del reader
    gc.collect()
    for (token_ids, images), before in zip(kept, tokens, strict=True):
        assert token_ids.tolist() == before
        assert all(image == held for image, held in images)


def test_a_missing_tar_is_named(rows: Rows) -> None:
    with Damage(path_of(rows, 1)) as damage:
        damage.path.unlink()
        with pytest.raises(DamagedRowError, match=r"row 6 in .*rows\.tar .* the tar is missing") as caught:
            RowReader(rows).read(6)
    travelled = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert (travelled.rows, travelled.part, travelled.row) == (rows.fingerprint, "00001", 6)
    assert str(travelled) == str(caught.value)


def test_what_rows_ask_for_is_known_whatever_became_of_their_tar(rows: Rows) -> None:
    """All ranks deal the rows of a step out alike, also those that opened the part before it was damaged."""
    works = [RowReader(rows).work(row) for row in range(4, 8)]
    with Damage(path_of(rows, 1)) as damage:
        damage.path.unlink()
        assert [RowReader(rows).work(row) for row in range(4, 8)] == works


@pytest.mark.parametrize("is_there", [True, False])
def test_a_damaged_index_is_named_before_anything_is_believed_of_it(rows: Rows, is_there: bool) -> None:
    with Damage(path_of(rows, 1, ROW_INDEX_FILE)) as damage:
        damage.flip(-500)
        if not is_there:
            damage.path.unlink()
        said = "is damaged: it has another digest" if is_there else "is missing"
        with pytest.raises(DamagedPartError, match=rf"index\.parquet \(part 00001 of .* {said}; .*neo audit"):
            RowReader(rows).work(5)
        assert RowReader(rows).work(3).num_tokens > 0


def test_a_reader_travels_small_and_reads_on(rows: Rows) -> None:
    reader = RowReader(rows)
    fresh = len(pickle.dumps(reader))
    whole = [row.token_ids.tolist() for row in reader]
    assert len(pickle.dumps(reader)) == fresh < 50_000
    travelled = pickle.loads(pickle.dumps(reader))  # noqa: S301
    assert [row.token_ids.tolist() for row in travelled] == whole


def test_threads_read_the_same_rows(rows: Rows) -> None:
    reader = RowReader(rows)
    numbers = [number for _ in range(5) for number in range(reader.num_rows)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda number: reader.read(number).token_ids.tolist(), numbers))
    assert together == [RowReader(rows).read(number).token_ids.tolist() for number in numbers]


def test_plain_webdataset_reads_a_row_as_a_sample(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own decoders, in their safe mode, and without anything of ours."""
    monkeypatch.setenv("WDS_SECURE", "1")
    reader = RowReader(rows)
    paths = [str(path_of(rows, part)) for part in range(len(rows.phase("write")))]
    found = list(webdataset.WebDataset(paths, shardshuffle=False).decode())
    assert [sample["__key__"] for sample in found] == [f"{number:09d}" for number in range(reader.num_rows)]
    for sample, row in zip(found, reader, strict=True):
        assert np.array_equal(sample["tokens.npy"], row.token_ids)
        assert np.array_equal(sample["mask.npy"], row.supervised)
        assert [bytes.fromhex(document["sample_id"]) for document in sample["json"]["documents"]] == row.sample_ids
        pictures = [sample[name] for name in sorted(sample) if name.endswith(".jpg")]
        assert pictures == row.images


def test_a_user_of_webdataset_finds_a_row_with_many_pictures_as_one_sample(tmp_path: Path) -> None:
    """With every usual decoder: pictures by their numbers in the order of the text, arrays, and facts as JSON."""
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)] * 4
    files = []
    for number, colour in enumerate(colours):
        file = BytesIO()
        Image.new("RGB", (32 + number, 32), colour).save(file, ("PNG", "WEBP")[number % 2], lossless=True)
        files.append(file.getvalue())
    facts = DocumentFacts(sample_id=bytes(16), source="s", repetition=0, piece=0, num_tokens=4, num_pictures=len(files))
    with TarWriter(tmp_path / "rows.tar") as tar:
        for number in (0, 1):
            grids = [(2, 2)] * len(files)
            tokens = np.arange(4, dtype=np.int32) + number
            tar.add(row_key(number), row_members(tokens, np.ones(4, bool), [facts], grids, files))
    found = list(webdataset.WebDataset(str(tmp_path / "rows.tar"), shardshuffle=False).decode("rgb8"))
    assert [sample["__key__"] for sample in found] == ["000000000", "000000001"]
    for number, sample in enumerate(found):
        assert sample["tokens.npy"].tolist() == [number, number + 1, number + 2, number + 3]
        assert sample["json"]["documents"][0]["num_pictures"] == len(files)
        names = sorted(name for name in sample if name[:5].isdigit())
        assert [name.split(".")[1] for name in names] == ["png", "webp"] * 6
        assert [sample[name].shape for name in names] == [(32, 32 + n, 3) for n in range(len(files))]
        assert [tuple(sample[name][0, 0].tolist()) for name in names] == colours
