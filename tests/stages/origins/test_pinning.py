"""Sources are pinned wherever people have them, and what changed is named by file."""

import hashlib
import json
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.contract import StageError
from stages.origins.changes import Thoroughness, changed_files, differences
from stages.origins.files import open_file
from stages.origins.pinning import pin, pin_source, select
from stages.store.store import Store
from tests.hub_server import hub_server

COMMIT = "c0ffee" + "0" * 34


@pytest.fixture(autouse=True)
def own_memory(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    (folder / "en" / ".git").mkdir(parents=True)
    (folder / "en" / ".git" / "x").write_bytes(b"hidden")
    (folder / "en" / "a.jsonl").write_bytes(b'{"a": 1}\n{"a": 2}')
    (folder / "b.txt").write_bytes(b"some text\n" * 200)
    pq.write_table(pa.table({"url": ["u"] * 7, "n": list(range(7))}), folder / "en" / "c.parquet")
    return folder


def read_all(source):
    texts = {}
    for file in source.files:
        with open_file(source.place, file) as opened:
            opened.seek(2)
            tail = opened.read()
            opened.seek(0)
            texts[file.path] = opened.read(2) + tail
    return texts


def contents(folder, paths):
    return {path: (folder / path).read_bytes() for path in paths}


PATHS = ["b.txt", "en/a.jsonl", "en/c.parquet"]


def test_a_folder_is_pinned_with_sizes_digests_and_rows(data, tmp_path):
    found = pin(["data"], tmp_path)
    assert [file.path for file in found.files] == PATHS
    assert [file.num_rows for file in found.files] == [None, 2, 7]
    assert found.files[0].sha256 == hashlib.sha256(b"some text\n" * 200).hexdigest()
    assert found.columns == {"url": "string", "n": "int64"}
    assert (found.place, found.place_from(tmp_path)) == ("data", str(data))
    assert read_all(pin_source("x", "data", tmp_path)) == contents(data, PATHS)


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("data/en/*.parquet", ["c.parquet"]),
        ("data/**/*.jsonl", ["en/a.jsonl"]),
        ("data/*", ["b.txt"]),
        ("data/en/?.jsonl", ["a.jsonl"]),
        ("data/b.txt", ["b.txt"]),
    ],
)
def test_patterns_and_single_files(data, tmp_path, pattern, paths):
    assert [file.path for file in select([pattern], tmp_path).files] == paths


def test_several_uris_have_one_place(data, tmp_path):
    found = pin(["data/en/a.jsonl", "data/b.txt"], tmp_path)
    assert (found.place, [file.path for file in found.files]) == ("data", ["b.txt", "en/a.jsonl"])


def test_several_places_are_several_sources(data, tmp_path, monkeypatch):
    with hub_server({"datasets/me/a": data, "datasets/me/b": data}) as (address, _):
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(StageError, match="one source lies in one place"):
            select(["hf://datasets/me/a/b.txt", "hf://datasets/me/b/b.txt"], tmp_path)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(StageError, match=r"nothing.jsonl is not there"):
        pin(["nothing.jsonl"], tmp_path)
    with pytest.raises(StageError, match=r"\*.parquet selects no file"):
        pin(["*.parquet"], tmp_path)
    with pytest.raises(StageError, match="sources lie in folders"):
        pin(["ftp://host/file"], tmp_path)


def test_the_same_files_elsewhere_are_the_same_source(data, tmp_path):
    before = pin(["data"], tmp_path)
    data.rename(tmp_path / "moved")
    after = pin(["moved"], tmp_path)
    assert after.digest == before.digest
    assert pickle.loads(pickle.dumps(pin_source("x", "moved", tmp_path))).files == before.files  # noqa: S301


def test_changes_are_named_by_file(data, tmp_path):
    was = pin(["data"], tmp_path)
    assert differences(was, tmp_path, Thoroughness()) == []
    (data / "b.txt").write_bytes(b"some text.\n" * 200)
    (data / "new.txt").write_bytes(b"x")
    (data / "en" / "a.jsonl").unlink()
    assert differences(was, tmp_path, Thoroughness()) == [
        "en/a.jsonl is missing",
        "b.txt has 2,200 bytes, 2,000 were pinned",
        "new.txt is new",
    ]
    assert changed_files(str(data), was.files, Thoroughness()) == [
        "en/a.jsonl is missing",
        "b.txt has 2,200 bytes, 2,000 were pinned",
    ]


def test_a_large_file_that_was_written_is_named_without_reading_it(data, tmp_path):
    was = pin(["data"], tmp_path)
    (data / "b.txt").write_bytes(b"same text\n" * 200)
    assert differences(was, tmp_path, Thoroughness(max_bytes=10)) == ["b.txt was written since it was pinned"]


def test_a_link_to_nothing_is_refused(data, tmp_path):
    (data / "annexed.jpg").symlink_to(tmp_path / "fetched" / "later.jpg")
    with pytest.raises(StageError, match=r"annexed.jpg is a link to nothing"):
        pin(["data"], tmp_path)
    assert [file.path for file in select(["data/en/*.parquet"], tmp_path).files] == ["c.parquet"]


def test_links_to_folders_do_not_depend_on_the_disk(data, tmp_path):
    (data / "alias").symlink_to(data / "en")
    assert [file.path for file in pin(["data"], tmp_path).files] == PATHS


def test_the_lock_file_is_no_data(data, tmp_path):
    for name in ("sources.toml", "sources.lock"):
        (data / name).write_text("ours")
    assert [file.path for file in pin(["."], data).files] == PATHS


def test_a_hub_that_does_not_answer_is_told_in_words(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(StageError, match="cannot be resolved to a commit"):
        pin(["hf://datasets/me/mine"], tmp_path)


def test_a_change_of_the_same_size_is_seen(data, tmp_path):
    was = pin(["data"], tmp_path)
    (data / "b.txt").write_bytes(b"same text\n" * 200)
    assert differences(was, tmp_path, Thoroughness()) == ["b.txt has other content than was pinned"]
    assert differences(was, tmp_path, Thoroughness(max_bytes=10)) == ["b.txt has other content than was pinned"], (
        "remembered"
    )


def test_pinning_again_reads_new_files_alone(data, tmp_path, monkeypatch):
    from stages.origins.places.folder import FolderPlace

    pin(["data"], tmp_path)
    read = []
    monkeypatch.setattr(
        FolderPlace,
        "read_range",
        lambda self, path, start, length, etag="", real=FolderPlace.read_range: (
            read.append(path) or real(self, path, start, length, etag)
        ),
    )
    (data / "new.txt").write_bytes(b"x")
    pin(["data"], tmp_path)
    assert read == ["new.txt"]


def test_a_file_that_changed_after_the_plan_is_refused_when_it_is_opened(data, tmp_path):
    source = pin_source("x", "data", tmp_path)
    (data / "b.txt").write_bytes(b"short")
    with pytest.raises(StageError, match=r"b.txt has 5 bytes; 2,000 bytes were pinned"):
        open_file(source.place, source.files[0])


def test_an_object_store(data, tmp_path, bucket):
    store = Store(bucket)
    for path in PATHS:
        store.overwrite(f"raw/{path}", (data / path).read_bytes())
    found = pin([f"{bucket}/raw"], tmp_path)
    assert found.digest == pin(["data"], tmp_path).digest
    assert found.place == f"{bucket}/raw"
    source = pin_source("x", f"{bucket}/raw")
    assert read_all(source) == contents(data, PATHS)
    assert [file.path for file in select([f"{bucket}/raw/**/*.parquet"], tmp_path).files] == ["en/c.parquet"]
    single = pin_source("x", f"{bucket}/raw/en/a.jsonl")
    assert (single.place, single.files[0].path) == (f"{bucket}/raw/en", "a.jsonl")
    assert differences(found, tmp_path, Thoroughness()) == []

    store.overwrite("raw/b.txt", b"same text\n" * 200)
    assert differences(found, tmp_path, Thoroughness()) == ["b.txt has other content than was pinned"]
    with pytest.raises(StageError, match=r"b.txt changed since it was pinned"):
        open_file(source.place, source.files[0]).read()
    with pytest.raises(StageError, match="selects no file"):
        pin([f"{bucket}/nothing"], tmp_path)


def test_a_repository_of_a_hub_is_pinned_at_its_commit(data, tmp_path, monkeypatch):
    with hub_server({"datasets/me/mine": data}) as (address, asked):
        monkeypatch.setenv("HF_ENDPOINT", address)
        found = pin(["hf://datasets/me/mine"], tmp_path)
        assert (found.commit, found.place) == (COMMIT, f"hf://datasets/me/mine@{COMMIT}")
        assert found.digest == pin(["data"], tmp_path).digest
        assert not [line for line in asked if "b.txt" in line], "its digest is in the tree"
        part = pin_source("x", f"hf://datasets/me/mine@{COMMIT}/en")
        assert read_all(part) == contents(data / "en", ["a.jsonl", "c.parquet"])
        single = pin_source("x", "hf://datasets/me/mine@main/en/a.jsonl")
        assert (single.place, single.files[0].path) == (f"hf://datasets/me/mine@{COMMIT}/en", "a.jsonl")
        pattern = pin(["hf://datasets/me/mine/**/*.parquet"], tmp_path)
        assert [file.path for file in pattern.files] == ["en/c.parquet"]
        with pytest.raises(StageError, match="cannot be"):
            pin(["hf://datasets/me/other"], tmp_path)
    assert differences(found, tmp_path, Thoroughness()) == [], "a commit cannot change, so nothing was asked"


def test_a_file_of_a_web_server(data, tmp_path):
    with hub_server({"datasets/me/mine": data}) as (address, _):
        url = f"{address}/datasets/me/mine/resolve/main/b.txt"
        source = pin_source("x", url)
        assert read_all(source) == contents(data, ["b.txt"])
        assert source.files[0].etag
        with pytest.raises(StageError, match="is not there"):
            pin([f"{address}/datasets/me/mine/resolve/main/none.txt"], tmp_path)
    with pytest.raises(StageError, match="may hold a secret"):
        pin(["https://host/a.txt?signature=1"], tmp_path)


def test_the_toy_world_is_a_folder_of_files():
    source = pin_source("x", "toy:documents.jsonl?num_documents=5&seed=3")
    ((name, text),) = read_all(source).items()
    assert name == "documents.jsonl"
    assert [set(json.loads(line)) for line in text.splitlines()] == [{"id", "text"}] * 5
    with pytest.raises(StageError, match="num_documents"):
        pin_source("x", "toy:documents.jsonl?num_documents=none")
