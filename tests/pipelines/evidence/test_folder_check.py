"""Nothing can happen to a folder unnoticed: each file in turn, each kind of byte, gone, added, renamed, cut."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.evidence.folder_check import NOT_LOOKED_AT, FolderReport, check_folder
from pipelines.exits import BadCommandError
from tests.pipelines.conftest import NeoSite
from tests.pipelines.evidence.conftest import FILE, linked, resealed


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def kinds(report: FolderReport) -> set[str]:
    return {finding.kind for finding in report.findings}


def flip(path: Path, place: int, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= bit
    path.write_bytes(data)


def noticed_everywhere(folder: Path) -> None:
    assert check_folder(folder).findings == []
    for path in files_of(folder):
        whole = path.read_bytes()
        for place in {0, len(whole) // 2, len(whole) - 1}:
            for bit in (1, 128):
                flip(path, place, bit)
                assert check_folder(folder).findings, f"{path} at {place}"
                path.write_bytes(whole)
        for other in (whole[:-1], whole + b"\0", b""):
            path.write_bytes(other)
            assert check_folder(folder).findings, f"{path}, {len(other)} of {len(whole)} bytes"
        path.write_bytes(whole)
    assert check_folder(folder).findings == []


def test_every_file_of_an_export_in_turn(export: Path) -> None:
    noticed_everywhere(export)


def test_every_file_of_a_copy_in_turn_its_records_included(copy: Path) -> None:
    noticed_everywhere(copy)


def test_every_byte_of_the_records_of_a_copy(copy: Path) -> None:
    """Letters, digits, blanks, brackets and line breaks of all three, one bit each."""
    for name in ("about.json", "files.jsonl", "lineage.json"):
        path = copy / ".neo" / name
        whole = path.read_bytes()
        for place in range(0, len(whole), 1 + len(whole) // 60):
            flip(path, place)
            assert check_folder(copy).findings, f"{name} at {place}: {whole[place - 9 : place + 9]!r}"
            path.write_bytes(whole)


@pytest.mark.parametrize("made", ["export", "copy"])
def test_gone_added_renamed_and_swapped(made: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(made)
    listed = [path for path in files_of(folder) if ".neo" not in path.parts and path.name != "lineage.json"]
    for path in listed:
        shutil.move(path, path.with_suffix(".other"))
        report = check_folder(folder)
        assert kinds(report) == {"missing", "extra"}
        assert any("it has the bytes of" in finding.told for finding in report.findings)
        shutil.move(path.with_suffix(".other"), path)
    for name in ("added.py", "sub/deep/added", ".hidden", ".neo/added", ".neo/partial/added"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
        assert check_folder(folder).findings, name
        (folder / name).unlink()
        if made == "export":
            shutil.rmtree(folder / ".neo", ignore_errors=True)
    (folder / "link").symlink_to(folder.parent)
    assert [(one.kind, one.path) for one in check_folder(folder).findings] == [("extra", "link")]
    (folder / "link").unlink()
    one, other = listed[0], listed[-1]
    one_bytes, other_bytes = one.read_bytes(), other.read_bytes()
    one.write_bytes(other_bytes)
    other.write_bytes(one_bytes)
    assert kinds(check_folder(folder)) == {"changed"}


def test_a_folder_in_the_place_of_a_file_is_a_missing_file(export: Path) -> None:
    (export / "README.md").unlink()
    (export / "README.md").mkdir()
    assert [(one.kind, one.path) for one in check_folder(export).findings] == [("missing", "README.md")]


def test_what_hubs_add_is_said_and_not_looked_at(export: Path) -> None:
    for name in NOT_LOOKED_AT:
        (export / name).mkdir()
        (export / name / "x").touch()
    report = check_folder(export)
    assert report.findings == [] and report.skipped == sorted(NOT_LOOKED_AT)
    (export / "sub" / ".git").touch()
    assert kinds(check_folder(export)) == {"extra"}


def test_a_copy_of_some_files_is_whole_in_what_it_has(site: NeoSite, copy: Path, tmp_path: Path) -> None:
    some = tmp_path / "some"
    assert site.neo("get", "data/rows", str(some), "--only", "*.parquet").code == 0
    report = check_folder(some)
    assert report.findings == [] and 0 < report.num_files < check_folder(copy).num_files
    assert report.record is not None and report.record.root == check_folder(copy).record.root
    assert site.neo("get", "data/rows", str(some), "--only", "*").code == 0
    assert check_folder(some).num_files == check_folder(copy).num_files
    assert check_folder(some).findings == []


def test_links_are_followed(site: NeoSite, copy: Path, tmp_path: Path) -> None:
    for option in ("--link", "--hard-link"):
        assert site.neo("get", "data/rows", str(tmp_path / option), option).code == 0
        assert check_folder(tmp_path / option).findings == []


def test_a_copy_outlives_its_store_and_one_of_a_torn_lineage_says_so(site: NeoSite, copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(site.artifact_folder("mix"))
    assert site.neo("get", "data/rows", str(tmp_path / "torn")).code == 0
    report = check_folder(tmp_path / "torn")
    assert report.findings == [] and report.record is not None and report.record.root is None
    assert "is not in" in report.record.document["lacking"]
    shutil.rmtree(site.folder / "store")
    assert check_folder(copy).findings == []


def test_folders_without_a_record_are_refused_in_words(export: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with pytest.raises(BadCommandError, match=r"has no lineage\.json: it is neither"):
        check_folder(tmp_path / "plain")
    with pytest.raises(BadCommandError, match="is no folder"):
        check_folder(export / "README.md")
    (export / "lineage.json").write_text(json.dumps({"checkpoint": "c", "artifacts": []}))
    with pytest.raises(BadCommandError, match="by a version that listed no digests"):
        check_folder(export)


def test_a_copy_that_was_broken_off_is_a_finding(copy: Path) -> None:
    (copy / ".neo" / "unfinished").touch()
    assert [one.path for one in check_folder(copy).findings] == [".neo/unfinished"]


def test_a_file_that_cannot_be_read_ends_the_command_in_words(export: Path) -> None:
    (export / "README.md").unlink()
    os.mkfifo(export / "README.md")
    assert [(one.kind, one.path) for one in check_folder(export).findings] == [("missing", "README.md")]


def test_ctrl_c_ends_a_check_at_once(export: Path) -> None:
    """A file that is being hashed is left off."""

    @contextmanager
    def stopped(_: int) -> Iterator[Callable[[int], object]]:
        def told(_: int) -> None:
            raise KeyboardInterrupt

        yield told

    with pytest.raises(KeyboardInterrupt):
        check_folder(export, stopped)


def test_links_in_the_places_of_files_are_named(site: NeoSite, export: Path, tmp_path: Path) -> None:
    """The cache of a hub is a folder of links; what they lead to is compared."""
    for name in ("model.safetensors", "lineage.json"):
        linked(export / name, tmp_path / name)
    said = site.neo("verify", str(export))
    assert said.code == 0 and f"{export}/model.safetensors is a link to {tmp_path}/model.safetensors" in said.out
    document = site.neo("verify", str(export), "--json").json
    assert [one["path"] for one in document["links"]] == ["model.safetensors", "lineage.json"]
    flip(tmp_path / "model.safetensors", 5)
    assert [(one.kind, one.path) for one in check_folder(export).findings] == [("changed", "model.safetensors")]
    (tmp_path / "model.safetensors").unlink()
    assert [(one.kind, one.path) for one in check_folder(export).findings] == [("missing", "model.safetensors")]


def test_a_file_behind_a_link_to_a_folder_is_not_read(export: Path, tmp_path: Path) -> None:
    linked(export / "sub", tmp_path / "sub")
    report = check_folder(export)
    assert [(one.kind, one.path) for one in report.findings] == [("missing", "sub/a.json"), ("extra", "sub")]
    assert "sub/a.json" not in report.digests


@pytest.mark.parametrize("name", ["lock", "unfinished", "about.json"])
def test_a_folder_with_the_name_of_a_record_is_looked_into(copy: Path, name: str) -> None:
    (copy / ".neo" / name).unlink(missing_ok=True)
    (copy / ".neo" / name).mkdir()
    (copy / ".neo" / name / "evil.py").touch()
    assert check_folder(copy).findings
    if name != "about.json":
        assert f".neo/{name}/evil.py" in {one.path for one in check_folder(copy).findings}
    shutil.rmtree(copy / ".neo" / name)
    (copy / ".neo" / name).symlink_to(copy)
    assert check_folder(copy).findings


def test_a_folder_that_cannot_be_looked_into_is_a_finding(export: Path) -> None:
    """Folders in folders, until the path of one is longer than the system takes."""
    at = os.open(export, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=at)
        at, before = os.open("d" * 250, os.O_RDONLY, dir_fd=at), at
        os.close(before)
    os.close(at)
    (finding,) = check_folder(export).findings
    assert finding.kind == "extra" and finding.told == "cannot be looked into: File name too long"


def test_names_that_cannot_be_opened_or_printed_are_findings(site: NeoSite, export: Path) -> None:
    resealed(export / "lineage.json", lambda document: document["files"].append({**FILE, "name": "n" * 300}))
    Path(os.fsdecode(bytes(export) + b"/\xff.py")).touch()
    said, document = site.neo("verify", str(export)), site.neo("verify", str(export), "--json").json
    assert said.code == 1 and "cannot be read: File name too long" in said.out and "udcff.py is not listed" in said.out
    assert [one["kind"] for one in document["findings"]] == ["missing", "extra"]
