"""Files in lists, and an audit on two machines: the same findings as on one, and what is lost or stopped."""

import json
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipelines.lineage import file_lists
from pipelines.lineage.file_checks import ArtifactFiles, Depth, FileCheck, placed, read_here
from pipelines.lineage.file_lists import FileList, check_list, lists_of
from pipelines.lineage.graph import Node
from pipelines.lineage.read_manifest import ReadManifest
from stages.artifacts.head import head_of
from stages.artifacts.manifest import Manifest, content_digest, manifest_bytes, manifest_key
from stages.artifacts.records import FileEntry, ItemBalance, PartRecord, sha256_of
from stages.contract import Part
from stages.store.errors import StoreError
from stages.store.store import Store
from tests.cluster.own_process import run_main
from tests.pipelines.conftest import TOYS, NeoSite
from tests.pipelines.lineage.audit_fleet import BUCKET, SIZES
from tests.pipelines.lineage.test_audit import STEPS, TRAINED, change, halve
from tests.pipelines.test_damaged_stores import local_runs

STAGE, FINGERPRINT = "make_bytes", "cd" * 32
FILES_OF_PARTS = (1, 0, 5, 2, 3, 1)


def part_of(store: Store, phase: str, name: str, num_files: int) -> PartRecord:
    entries = []
    for number in range(num_files):
        key = f"artifacts/{STAGE}/{FINGERPRINT[:12]}/attempts/a/{phase}-{name}-{number}.bin"
        store.create(key, f"{name} {number}".encode() * (number + 1))
        path = Path(store.url) / key
        entries.append(FileEntry(name=path.name, key=key, size_bytes=path.stat().st_size, sha256=sha256_of(path)))
    return PartRecord(phase=phase, part=name, files=tuple(entries))


@pytest.fixture
def files(tmp_path: Path) -> ArtifactFiles:
    """12 files in 6 parts, and 2 in a checkpoint that is kept."""
    store = Store(tmp_path)
    parts = tuple(part_of(store, "write", f"{n:05d}", number) for n, number in enumerate(FILES_OF_PARTS))
    fields = {"kind": "Artifact", "stage": STAGE, "number": 1, "fingerprint": FINGERPRINT, "recipe": {}, "inputs": {}}
    manifest = Manifest(**fields, items=ItemBalance(), content=content_digest(parts), versions={}, parts=parts)
    store.create(manifest_key(STAGE, FINGERPRINT), manifest_bytes(manifest))
    return opened(store, [part_of(store, "steps", "000001", 2)])


def opened(store: Store, kept: list[PartRecord]) -> ArtifactFiles:
    data = store.read(manifest_key(STAGE, FINGERPRINT))
    assert data is not None
    read = ReadManifest.of(Node(store, STAGE, FINGERPRINT, head_of(data)))
    assert read is not None
    return ArtifactFiles(store, read, kept, Depth(), lambda _: "")


def checked(files: ArtifactFiles, task: FileList, stop_asked: Any = lambda: False) -> list[tuple[int, dict[str, Any]]]:
    """What a machine finds of a list, its task having travelled as JSON."""
    part = Part(name="0", task=json.loads(json.dumps(task.dump())))
    work = partial(check_list, store=files.store, manifest_key=files.manifest.key, depth=files.depth)
    return work(part, lambda _: None, stop_asked).found


def here(files: ArtifactFiles) -> list[FileCheck]:
    checks: list[FileCheck] = []
    read_here(files, checks.append)
    return checks


@pytest.mark.parametrize("most", [1, 2, 3, 100])
def test_lists_hold_each_file_once_and_no_more_than_they_may(
    files: ArtifactFiles, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_lists, "MAX_FILES_OF_LIST", most)
    lists = list(lists_of(files))
    assert max(one.num_files for one in lists) == min(most, 12)
    assert [place for one in lists for place, _ in checked(files, one)] == list(range(14))


def test_lists_are_bounded_by_the_bytes_that_are_read(files: ArtifactFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_lists, "MAX_BYTES_OF_LIST", 20)
    read = [sum(file.entry.size_bytes for file in files if one.first <= file.place < one.first + one.num_files)
            for one in lists_of(files)]  # fmt: skip
    assert len(read) > 5 and all(num_bytes <= 20 or one.num_files == 1
                                 for num_bytes, one in zip(read, lists_of(files), strict=True))  # fmt: skip


@pytest.mark.parametrize("is_spread", [False, True], ids=["a line a part", "indented"])
def test_machines_find_what_one_machine_finds(
    files: ArtifactFiles, is_spread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_lists, "MAX_FILES_OF_LIST", 2)
    if is_spread:
        path = Path(files.store.url) / files.manifest.key
        path.write_text(json.dumps(json.loads(path.read_text()), indent=2))
        files = opened(files.store, list(files.kept))
        assert not files.manifest.is_as_stored
    keys = [file.entry.key for file in files]
    (Path(files.store.url) / keys[1]).write_bytes(b"other")
    (Path(files.store.url) / keys[4]).unlink()
    (Path(files.store.url) / keys[13]).unlink()
    alone = {check.file.place: {**vars(check)} for check in here(files)}
    for fields in alone.values():
        del fields["file"]
    assert {place for place, fields in alone.items() if fields["problem"]} == {1, 4, 13}
    assert dict(found for one in lists_of(files) for found in checked(files, one)) == alone


def test_what_an_unfinished_audit_has_read_is_not_read_again(files: ArtifactFiles) -> None:
    versions = {check.file.entry.key: check.version for check in here(files) if check.file.place % 2}
    again = ArtifactFiles(
        files.store, files.manifest, files.kept, files.depth, lambda entry: versions.get(entry.key, "")
    )
    found = dict(found for one in lists_of(again) for found in checked(again, one))
    assert [bool(found[place]["version"]) for place in range(14)] == [place % 2 == 0 for place in range(14)]
    assert all(fields["was_read"] and not fields["problem"] for fields in found.values())


def test_a_list_that_is_stopped_returns_what_it_has(files: ArtifactFiles) -> None:
    first = next(lists_of(files))
    assert [place for place, _ in checked(files, first, stop_asked=lambda: True)] == [0]


def test_a_manifest_that_changes_meanwhile_ends_the_list_in_words(files: ArtifactFiles) -> None:
    first = next(lists_of(files))
    path = Path(files.store.url) / files.manifest.key
    path.write_text(path.read_text().replace("00002", "00009"))
    with pytest.raises(StoreError, match=r"manifest.json was changed while its artifact was audited; audit it again"):
        checked(files, first)


def test_places_count_the_files_of_all_parts(files: ArtifactFiles) -> None:
    assert [file.place for file in placed(files.manifest.parts())] == list(range(12))


def test_a_cluster_that_cannot_be_reached_is_told_with_the_way_without_it(
    site: NeoSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records alone are compared here, whatever the site; a site without a cluster starts no Ray."""
    assert site.neo("run", f"{TOYS}:data").code == 0
    site.file.write_text(site.file.read_text() + '[ray]\naddress = "127.0.0.1:9"\n')
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # also where another test has Ray up in this process
    refused = site.neo("audit", "data/rows")
    assert refused.code == 3 and "no Ray at '127.0.0.1:9'" in refused.err, refused
    assert "neo audit data/rows --here" in refused.last_line
    assert site.neo("audit", "data/rows", "--here").code == 0
    assert site.neo("audit", "data/rows", "--level", "quick").code == 0


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, s3_server: str) -> Iterator[dict[str, dict[str, Any]]]:
    """What was told of each scenario of `audit_fleet.py`."""
    from tests.s3_server import environment, make_bucket

    folder = tmp_path_factory.mktemp("fleet")
    with pytest.MonkeyPatch.context() as patch, local_runs(folder) as run:
        patch.setenv("TOY_KEEPS_TWO", "1")
        assert run("whole") == 0
        for name, value in environment(s3_server).items():
            patch.setenv(name, value)
        shutil.copytree(folder / "store", folder / "slow" / "store")
        spoil(folder / "store")
        (folder / "store").rename(folder / "damaged")
        bucket = make_bucket(s3_server, "audited")
        for path in (folder / "damaged").rglob("*"):
            if path.is_file():
                Store(bucket).overwrite(path.relative_to(folder / "damaged").as_posix(), path.read_bytes())
        run_main("tests.pipelines.lineage.audit_fleet", folder, 800, **{BUCKET: bucket})
    yield {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


def spoil(store: Path) -> None:
    """A changed, a halved and a missing file, a checkpoint that training went past, a record and a manifest."""
    data = sorted(store.glob("artifacts/*/*/attempts/**/*"))
    files = [path for path in data if path.is_file() and "train_toy" not in path.as_posix()]
    files[0].write_bytes(files[0].read_bytes()[::-1])
    os.truncate(files[-1], files[-1].stat().st_size // 2)
    files[len(files) // 2].unlink()
    change(next(store.glob(f"{TRAINED}/attempts/*/step-00000004-*/model/weights.json")), "{")
    halve(next(store.glob("artifacts/judge_toys/*/records/judge/00001.json")))
    (store / next(store.glob(f"{STEPS}/000000.json.deleted")).relative_to(store)).unlink()
    manifest = next(store.glob("artifacts/toy_llm/*/manifest.json"))
    manifest.write_text(json.dumps(json.loads(manifest.read_text()), indent=2))


@pytest.mark.long
@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_two_machines_and_one_find_the_same(told: dict[str, dict[str, Any]], place: str) -> None:
    for level, (machines, alone) in told[place].items():
        assert machines == alone, level
        assert machines["exit_code"] == 1
    (full, _), (size, _) = told[place]["full"], told[place]["size"]
    problems = [finding["said"].partition(":")[0] for finding in full["findings"]]
    assert problems.count("is damaged") == 2 and any("bytes, " in problem for problem in problems)
    assert len(size["findings"]) == len(full["findings"]) - 2
    assert full["num_files_read"] == full["num_files"] == 17, "one of a checkpoint whose mark is gone"


@pytest.mark.long
def test_ctrl_c_ends_an_audit_on_machines_and_it_continues(told: dict[str, dict[str, Any]]) -> None:
    stopped, continued = told["stopped"], told["continued"]
    assert stopped["code"] == 75, stopped
    assert "neo audit whole/evaluate" in stopped["out"] and stopped["seconds"] < 20 + 5
    assert continued["code"] == 0 and "Continues an audit that was broken off" in continued["out"], continued
    assert "in 16 files" in continued["out"]
    assert not set(stopped["read"]) & set(continued["read"]), "files of a list that has begun are noted"


@pytest.mark.long
def test_a_machine_that_hangs_does_not_hold_up_ctrl_c(told: dict[str, dict[str, Any]]) -> None:
    stuck = told["stuck"]
    assert stuck["code"] == 75 and "Stops within 2 s" in stuck["out"], stuck
    assert stuck["seconds"] < 3 + 2 + 10, "3 s until Ctrl-C, a grace of 2 s"
    assert told["unstuck"]["code"] == 0 and "Everything is as it was committed." in told["unstuck"]["out"]


@pytest.mark.long
def test_an_audit_survives_a_lost_machine(told: dict[str, dict[str, Any]]) -> None:
    assert told["lost"]["code"] == 0 and "Everything is as it was committed." in told["lost"]["out"], told["lost"]
    assert "in 16 files" in told["lost"]["out"]


@pytest.mark.long
def test_the_driver_holds_one_manifest_as_bytes_and_not_its_files(told: dict[str, dict[str, Any]]) -> None:
    small, large = told["memory"]["peaks"]
    assert [one["num_files"] for one in (small, large)] == [4 * number for number in SIZES]
    assert small["findings"] == large["findings"] == 0
    bytes_a_part = (large["peak_bytes"] - small["peak_bytes"]) / (SIZES[1] - SIZES[0])
    assert bytes_a_part < 3000, f"{bytes_a_part:.0f} bytes more for each part, of which the manifest has some 800"
