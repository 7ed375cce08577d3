"""Copies of artifacts: whole, continued, verified; and what is refused."""

import hashlib
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.local import make
from pipelines.exits import BadCommandError, RefusedError
from pipelines.outside.copies import copy_artifact
from stages.artifacts.artifact import Artifact
from stages.store.errors import StoreError
from stages.store.store import Store
from tests.pipelines.toy_pipeline import data, scored
from tests.s3_server import environment, s3_server


class StoppedError(Exception):
    pass


@contextmanager
def unseen(total_bytes):
    yield lambda num_bytes: None


def stops_after(most: int):
    """A display of progress that stops the command once so many bytes were copied."""

    @contextmanager
    def progress(total_bytes):
        left = [most]

        def told(num_bytes):
            left[0] -= num_bytes
            if left[0] < 0:
                raise StoppedError

        yield told

    return progress


def copy(artifact, folder, *patterns, how="copy", progress=unseen):
    return copy_artifact(artifact, folder, patterns=patterns, how=how, progress=progress)


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Path to bytes of the files that are not hidden."""
    paths = (path for path in folder.rglob("*") if path.is_file() and ".neo" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def rows(store) -> Artifact:
    return make(data(), store)


@pytest.fixture(scope="module")
def weights(store) -> Artifact:
    made = make(scored(), store)
    return made.input("checkpoint", Artifact)


def committed(artifact) -> dict[str, str]:
    """Digest of each committed file by its path in a copy of all."""
    return {
        f"{record.phase}/{record.part}/{entry.name}": entry.sha256
        for record in artifact.manifest.parts
        for entry in record.files
    }


def test_a_copy_holds_every_committed_file_byte_for_byte(rows, tmp_path):
    done = copy(rows, tmp_path / "copy")
    found = {path: hashlib.sha256(data).hexdigest() for path, data in bytes_of(tmp_path / "copy").items()}
    assert found == committed(rows)
    assert done.num_files == len(found) == done.ended["copied"]
    assert not (tmp_path / "copy" / ".neo" / "partial").exists()


def test_a_model_is_the_folder_that_loads_and_a_pattern_takes_other_files(weights, tmp_path):
    copy(weights, tmp_path / "model")
    assert bytes_of(tmp_path / "model")
    assert not any(path.startswith("model/") for path in bytes_of(tmp_path / "model"))


def test_the_same_command_again_verifies_and_names_a_file_that_was_changed(rows, tmp_path):
    copy(rows, tmp_path)
    assert copy(rows, tmp_path).ended == {"there": len(committed(rows))}
    path = tmp_path / next(iter(committed(rows)))
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(RefusedError, match="is there already, and is not the file") as refused:
        copy(rows, tmp_path)
    assert str(path) in str(refused.value)


def test_a_copy_that_was_stopped_has_no_half_file_under_a_final_name_and_continues(rows, tmp_path):
    with pytest.raises(StoppedError):
        copy(rows, tmp_path, progress=stops_after(3000))
    whole = committed(rows)
    before = bytes_of(tmp_path)
    assert before.keys() < whole.keys()
    assert all(hashlib.sha256(data).hexdigest() == whole[path] for path, data in before.items())
    done = copy(rows, tmp_path)
    assert done.ended["there"] == len(before) and done.ended["copied"] == len(whole) - len(before)
    assert bytes_of(tmp_path).keys() == whole.keys()


def test_what_was_written_of_a_file_is_continued_and_written_again_where_it_is_damaged(rows, tmp_path):
    with pytest.raises(StoppedError):
        copy(rows, tmp_path, progress=stops_after(-1))
    paths = committed(rows)
    for number, (path, _) in enumerate(list(paths.items())[:2]):
        draft = tmp_path / ".neo" / "partial" / hashlib.sha256(path.encode()).hexdigest()
        held = next(e for r in rows.manifest.parts for e in r.files if f"{r.phase}/{r.part}/{e.name}" == path)
        begun = rows.store.read_range(held.key, 0, held.size_bytes // 2)
        draft.write_bytes(begun if number == 0 else bytes(len(begun)))
    copy(rows, tmp_path)
    assert {path: hashlib.sha256(data).hexdigest() for path, data in bytes_of(tmp_path).items()} == paths


def test_links_lead_into_the_store_and_cost_no_bytes(rows, tmp_path):
    for how, folder in (("link", tmp_path / "soft"), ("hard link", tmp_path / "hard")):
        assert copy(rows, folder, how=how).ended == {"linked": len(committed(rows))}
        path = folder / next(iter(committed(rows)))
        assert path.is_symlink() == (how == "link")
        entry = rows.manifest.parts[0].files[0]
        assert path.samefile(rows.store.folder / entry.key)
        assert copy(rows, folder, how=how).ended == {"there": len(committed(rows))}


def test_other_folders_are_refused_and_left_as_they_are(rows, weights, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.txt").write_text("mine")
    with pytest.raises(RefusedError, match="is not empty .there is 'thesis.txt'."):
        copy(rows, tmp_path / "own")
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["thesis.txt"]
    copy(rows, tmp_path / "rows")
    with pytest.raises(RefusedError, match="holds something else: artifact 'pack_toys/"):
        copy(weights, tmp_path / "rows")
    with pytest.raises(RefusedError, match="lies in the store"):
        copy(rows, rows.store.folder / "copies")
    with pytest.raises(RefusedError, match="is a file"):
        copy(rows, tmp_path / "own" / "thesis.txt")
    with pytest.raises(BadCommandError, match="has no file whose path matches '.*.jpeg'"):
        copy(rows, tmp_path / "none", "*.jpeg")
    assert not (tmp_path / "none").exists()


def test_a_damaged_file_of_the_store_gets_no_name_in_the_copy(rows, tmp_path):
    import shutil

    shutil.copytree(rows.store.folder, tmp_path / "store")
    spoiled = Artifact(Store(tmp_path / "store"), rows.manifest)
    entry = rows.manifest.parts[-1].files[0]
    path = tmp_path / "store" / entry.key
    path.write_bytes(bytes([*path.read_bytes()[:-1], 77]))
    with pytest.raises(StoreError, match="has the sha256 .* was committed; `neo audit"):
        copy(spoiled, tmp_path / "copy")
    name = f"{rows.manifest.parts[-1].phase}/{rows.manifest.parts[-1].part}/{entry.name}"
    assert name not in bytes_of(tmp_path / "copy")


def test_a_copy_from_an_object_store_is_the_same_and_links_to_it_are_refused(tmp_path, monkeypatch):
    import boto3

    with s3_server(tmp_path / "s3.log") as address:
        for name, value in environment(address).items():
            monkeypatch.setenv(name, value)
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket="copies")
        rows = make(data(), Store("s3://copies/neo"))
        copy(rows, tmp_path / "copy")
        found = {path: hashlib.sha256(data).hexdigest() for path, data in bytes_of(tmp_path / "copy").items()}
        assert found == committed(rows)
        with pytest.raises(RefusedError, match="is remote: links can lead to files of a local store alone"):
            copy(rows, tmp_path / "links", how="link")
    assert not (tmp_path / "links").exists()
