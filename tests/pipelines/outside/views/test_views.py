"""Views of every kind, read by webdataset's own code, by `datasets` and by Energon.

The last two are no dependencies: their tests skip themselves where they are not installed.
"""

import hashlib
import io
import json
from contextlib import contextmanager
from pathlib import Path

import pytest
import webdataset
from PIL import Image

from cluster.local import make
from pipelines.exits import BadCommandError, RefusedError
from pipelines.outside.views.layouts import LAYOUTS
from pipelines.outside.views.views import lay_out, plan_view
from stages.artifacts.kinds import Conversations, KeptPairs, RawPairs, Rows
from stages.formats.packed_rows.rows import RowReader
from stages.formats.pairs import PairReader
from stages.store.store import Store
from tests.s3_server import environment, s3_server
from tests.worlds.mixture_world import TEXTS
from tests.worlds.packed_world import CHATS, KEPT, LLM, PAIRS, rows_of

STEPS = {"raw": PAIRS, "kept": KEPT, "chats": CHATS, "texts": TEXTS, "rows": rows_of(256), "llm": LLM}


@contextmanager
def unseen(num_items):
    yield lambda number: None


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def made(store):
    """Each kind of artifact, by the name of its step."""
    return {name: make(step, store) for name, step in STEPS.items()}


def view(artifact, layout: str, folder: Path, how=None):
    """Lay out a view; returns its plan and how its shards ended."""
    planned = plan_view(artifact, LAYOUTS[layout], how)
    return planned, lay_out(artifact, planned, folder, unseen)


def read_wds(planned, folder: Path) -> list[dict]:
    urls = f"{folder}/{planned.layout.pattern(len(planned.shards))}"
    return list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))


def digests(pairs) -> dict[str, tuple[str, bytes]]:
    """Sample id to caption and digest of the picture of each kept pair."""
    return {pair.sample_id.hex(): (pair.caption, pair.image.sha256) for pair in PairReader(pairs)}


def test_raw_pairs_are_links_that_webdataset_reads_as_they_are(made, tmp_path):
    planned, ended = view(made["raw"], "wds", tmp_path)
    assert ended == {"linked": 3} and (tmp_path / "000000.tar").is_symlink()
    samples = read_wds(planned, tmp_path)
    assert len(samples) == planned.num_samples == made["raw"].head.items.kept
    assert len({one["__key__"] for one in samples}) == len(samples)
    assert {hashlib.sha256(one["jpg"]).digest() for one in samples} == {sha for _, sha in digests(made["raw"]).values()}
    assert (tmp_path / "shards.csv").read_text().splitlines()[1].endswith(",as committed")


def test_kept_pairs_are_written_with_what_verdicts_left_of_them(made, tmp_path):
    planned, ended = view(made["kept"], "wds", tmp_path)
    assert ended == {"written": 3}
    found = {
        json.loads(one["json"])["sample_id"]: (one["txt"].decode(), hashlib.sha256(one["jpg"]).digest())
        for one in read_wds(planned, tmp_path)
    }
    assert found == digests(made["kept"])
    assert planned.num_samples < made["raw"].head.items.kept


def test_a_second_view_of_the_same_is_the_same_to_the_bit_and_a_begun_one_is_completed(made, tmp_path):
    view(made["kept"], "wds", tmp_path / "one")
    view(made["kept"], "wds", tmp_path / "two")
    tars = sorted((tmp_path / "one").glob("*.tar"))
    assert all(tar.read_bytes() == (tmp_path / "two" / tar.name).read_bytes() for tar in tars)
    tars[1].unlink()
    _, ended = view(made["kept"], "wds", tmp_path / "one")
    assert ended == {"written": 1, "there": 2}
    with pytest.raises(RefusedError, match="holds something else: .*layout 'wds', not 'energon'"):
        view(made["kept"], "energon", tmp_path / "one")


def test_packed_rows_are_links_and_each_is_whole(made, tmp_path):
    planned, ended = view(made["rows"], "wds", tmp_path)
    reader = RowReader(made["rows"].as_kind(Rows))
    assert ended == {"linked": len(planned.shards)}
    samples = read_wds(planned, tmp_path)
    assert [int(one["__key__"]) for one in samples] == list(range(reader.num_rows))
    for row, one in zip(reader, samples, strict=True):
        assert sum(name.endswith(".jpg") for name in one) == len(row.images)
        assert len(row.images) == 0 or one["00000.jpg"] == bytes(row.images[0])


def test_texts_and_conversations_have_keys_of_their_own(made, tmp_path):
    for name in ("texts", "chats"):
        planned, _ = view(made[name], "wds", tmp_path / name)
        samples = read_wds(planned, tmp_path / name)
        assert len({one["__key__"] for one in samples}) == len(samples) == made[name].head.items.kept
    chats = [json.loads(one["json"]) | one for one in samples]
    assert all(one["messages"][0]["content"].count("<image>") == sum("jpg" in name for name in one) for one in chats)


def test_what_has_no_samples_is_refused_and_links_or_copies_are_the_same(made, tmp_path):
    with pytest.raises(BadCommandError, match="holds no samples that loaders read; there are views of RawPairs"):
        view(made["llm"], "wds", tmp_path / "llm")
    _, copied = view(made["raw"], "wds", tmp_path / "copied", "copy")
    _, hard = view(made["raw"], "wds", tmp_path / "hard", "hard link")
    assert (copied, hard) == ({"copied": 3}, {"linked": 3})
    for name in ("copied", "hard"):
        tar = tmp_path / name / "000001.tar"
        assert not tar.is_symlink()
        assert tar.read_bytes() == (made["raw"].store.folder / plan_tar(made["raw"], 1)).read_bytes()


def plan_tar(artifact, number: int) -> str:
    tar = plan_view(artifact, LAYOUTS["wds"], None).shards[number].tar
    assert tar is not None
    return tar.key


def test_the_index_of_energon_names_the_first_byte_of_each_sample(made, tmp_path):
    """By the tables and by the headers alike, for tars that are linked and tars that are written."""
    import struct

    from pipelines.outside.views.layouts import tar_starts

    for name in ("raw", "kept", "rows", "texts", "chats"):
        planned, _ = view(made[name], "energon", tmp_path / name)
        info = json.loads((tmp_path / name / ".nv-meta" / ".info.json").read_text())
        for number, shard in enumerate(planned.shards):
            path = tmp_path / name / f"{number:06d}.tar"
            index = path.with_name(f"{path.name}.idx").read_bytes()
            *starts, end = struct.unpack(f"<{len(index) // 8}Q", index)
            assert starts == tar_starts(path) and len(starts) == shard.num_samples
            assert end == path.stat().st_size - 1024
            assert info["shard_counts"][path.name] == shard.num_samples


@pytest.mark.parametrize("name", list(STEPS)[:5])
def test_energon_reads_each_kind(name, made, tmp_path):
    energon = pytest.importorskip("megatron.energon", reason="needs megatron-energon")
    planned, _ = view(made[name], "energon", tmp_path)

    @energon.stateless
    def cook(sample: dict) -> "energon.CaptioningSample":
        import torch

        basic = energon.basic_sample_keys(sample)
        return energon.CaptioningSample(**basic, image=torch.zeros(0), caption=sorted(map(str, sample))[0])

    class Raw(energon.DefaultTaskEncoder):
        cookers = (energon.Cooker(cook),)

    data = energon.get_val_dataset(
        tmp_path,
        split_part="train",
        worker_config=energon.WorkerConfig(rank=0, world_size=1, num_workers=0),
        batch_size=None,
        task_encoder=Raw() if name in ("rows", "chats") else energon.DefaultTaskEncoder(),
    )
    samples = list(energon.get_loader(data))
    assert len(samples) == len({one.__key__ for one in samples}) == planned.num_samples
    if name in ("raw", "kept"):
        captions = {caption for caption, _ in digests(made[name]).values()}
        assert {one.caption for one in samples} == captions and samples[0].image.ndim == 3
    if name == "texts":
        assert all(" is " in one.text for one in samples)


@pytest.mark.parametrize("name", list(STEPS)[:5])
@pytest.mark.parametrize("streams", [False, True])
def test_datasets_reads_each_kind(name, streams, made, tmp_path):
    datasets = pytest.importorskip("datasets", reason="needs datasets")
    planned, _ = view(made[name], "hf", tmp_path / "view")
    loaded = datasets.load_dataset(
        str(tmp_path / "view"), split="train", streaming=streams, cache_dir=str(tmp_path / "cache")
    )
    samples = list(loaded)
    assert len(samples) == planned.num_samples
    if name in ("raw", "kept"):
        found = {one["txt"]: one["jpg"].size for one in samples}
        pairs = made[name].as_kind(RawPairs if name == "raw" else KeptPairs)
        assert found == {one.caption: (one.width_px, one.height_px) for one in PairReader(pairs)}
    if name == "rows":
        for row, one in zip(RowReader(made[name].as_kind(Rows)), samples, strict=True):
            pictures = [value for ending, value in sorted(one.items()) if ending.endswith(".jpg")]
            assert [picture is not None for picture in pictures] == [
                number < len(row.images) for number in range(len(pictures))
            ]
            assert one["tokens.npy"] == row.token_ids.tolist() and one["mask.npy"] == row.supervised.tolist()
            assert [document["source"] for document in one["json"]["documents"]] == row.sources
            assert all(
                picture.size == Image.open(io.BytesIO(image)).size
                for picture, image in zip(pictures, row.images, strict=False)
            )
    if name == "chats":
        assert all(len(one["images"]) == one["messages"][0]["content"].count("<image>") for one in samples)
        assert any(one["images"] for one in samples)
        assert isinstance(made[name].as_kind(Conversations), Conversations)


def test_tars_of_an_object_store_are_copied_and_what_is_written_is_the_same(made, tmp_path, monkeypatch):
    import boto3

    with s3_server(tmp_path / "s3.log") as address:
        for name, value in environment(address).items():
            monkeypatch.setenv(name, value)
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket="views")
        raw, kept = (make(STEPS[name], Store("s3://views/neo")) for name in ("raw", "kept"))
        _, ended = view(raw, "energon", tmp_path / "raw")
        assert ended == {"copied": 3}
        _, ended = view(kept, "wds", tmp_path / "kept")
        assert ended == {"written": 3}
        with pytest.raises(RefusedError, match="is remote: links can lead to files of a local store alone"):
            view(raw, "wds", tmp_path / "links", "link")
    view(made["kept"], "wds", tmp_path / "local")
    for name in ("000000.tar", "000001.tar", "000002.tar"):
        assert (tmp_path / "kept" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
