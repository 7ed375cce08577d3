"""No record leads out of its folder, tells more than its roots cover, or ends a command in anything but a verdict."""

import hashlib
import json
import os
import random
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from pipelines.commands.verify import document_of, sentences
from pipelines.evidence.folder_check import check_folder
from pipelines.evidence.signatures import check_signature
from stages.artifacts.merkle import MerkleTree, artifact_root, canonical, file_leaf
from stages.exporting.lineage_file import sealed
from tests.pipelines.conftest import NeoSite
from tests.pipelines.evidence.conftest import FILE, linked, resealed

LINES = [{"phase": "write", "part": part, "name": name, "path": f"write/{part}/{name}"} for part in ("00000", "00001")
         for name in ("index.parquet", "rows.tar")]  # fmt: skip


@pytest.mark.parametrize("path", ["../secret", "/etc/hostname", "sub/../../secret"])
def test_a_record_that_leads_out_of_its_folder_is_not_followed(export: Path, path: str) -> None:
    resealed(export / "lineage.json", lambda document: document["files"].append({**FILE, "name": path}))
    (finding,) = check_folder(export).findings
    assert (finding.kind, finding.path) == ("record", "lineage.json") and "leads out of the folder" in finding.told


@pytest.mark.parametrize(
    "path", ["", "a//b", "./README.md", "a\0b", "a\\b", "a\nb", ".neo/lock", "lineage.json", "empty.bin"]
)
def test_paths_that_no_folder_has_are_refused_before_anything_is_opened(export: Path, path: str) -> None:
    resealed(export / "lineage.json", lambda document: document["files"].append({**FILE, "name": path}))
    report = check_folder(export)
    assert [(one.kind, one.path) for one in report.findings] == [("record", "lineage.json")] and report.digests == {}
    assert repr(path) in report.findings[0].told


def relisted(copy: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Write the list of a copy anew after a change of its lines, spelled as ours."""
    path = copy / ".neo" / "files.jsonl"
    files = [json.loads(line) for line in path.read_bytes().splitlines()]
    for file in files:
        change(file)
    path.write_bytes(b"".join(canonical(file) + b"\n" for file in files))


def test_two_files_of_a_copy_cannot_change_places(tmp_path: Path) -> None:
    """No root covers the path of a line: it follows from phase, part and name."""
    copy_of(tmp_path, LINES)
    assert check_folder(tmp_path).findings == []
    one, other = LINES[1]["path"], LINES[3]["path"]
    for path, data in ((one, other), (other, one)):
        (tmp_path / path).write_text(data)
    relisted(tmp_path, lambda file: file.update(path={one: other, other: one}.get(file["path"], file["path"])))
    (finding,) = check_folder(tmp_path).findings
    assert (finding.kind, finding.path) == ("record", ".neo/files.jsonl") and "not its place" in finding.told


def test_what_a_copy_is_without_is_counted(site: NeoSite, tmp_path: Path) -> None:
    """Whether a copy has a file is covered by no root, so the verdict says how many it has not."""
    copy_of(tmp_path / "copy", LINES)
    (tmp_path / "copy" / LINES[1]["path"]).unlink()
    relisted(tmp_path / "copy", lambda file: file.update(copied=file["path"] != LINES[1]["path"]))
    said = site.neo("verify", str(tmp_path / "copy"))
    assert said.code == 0 and "All as recorded; 1 of 4 files are not in this copy." in said.out
    document = site.neo("verify", str(tmp_path / "copy"), "--json").json
    assert [document[name] for name in ("num_not_copied", "num_listed", "num_files")] == [1, 4, 3]


def test_paths_of_a_model_follow_from_its_last_part(tmp_path: Path) -> None:
    """Of a training, the last checkpoint; checkpoints are in their order, since no leaf has their number."""
    folder = tmp_path / "trained"
    lines = [
        {"phase": "steps", "part": "000001", "name": "state.bin", "path": "steps/000001/state.bin"},
        {"phase": "steps", "part": "000002", "name": "model/config.json", "path": "config.json"},
        {"phase": "steps", "part": "000002", "name": "state.bin", "path": "steps/000002/state.bin"},
    ]
    copy_of(folder, lines)
    assert check_folder(folder).findings == [] and check_folder(folder).listed.num_listed == 3
    copy_of(folder, [{**lines[0], "name": "model/config.json", "path": "config.json"}, *lines[1:]])
    assert "not its place" in check_folder(folder).findings[0].told
    copy_of(folder, [{**lines[0], "part": "000003", "path": "steps/000003/state.bin"}, *lines[1:]])
    assert "lists checkpoint 000002 behind 000003" in check_folder(folder).findings[0].told


def copy_of(folder: Path, lines: list[dict[str, Any]]) -> None:
    """A copy with these files, each with its path as its bytes, and a record whose roots are right."""
    tree, listed = MerkleTree(), []
    for line in lines:
        data = line["path"].encode()
        (folder / line["path"]).parent.mkdir(parents=True, exist_ok=True)
        (folder / line["path"]).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        tree.add(file_leaf(line["phase"], line["part"], line["name"], len(data), digest))
        listed.append(canonical({**line, "copied": True, "size_bytes": len(data), "sha256": digest}) + b"\n")
    entry = {"stage": "train", "number": 1, "kind": "Checkpoint", "fingerprint": "f" * 64, "content": "c" * 64}
    entry |= {"recipe": {}, "inputs": {}, "items": {"kept": 0, "dropped": {}, "failed": {}}, "files_root": tree.root}
    entry["root"] = artifact_root(entry, tree.root, {})
    about = {"artifact": f"train/{'f' * 12}", "content": "c" * 64, "layout": "files"}
    (folder / ".neo").mkdir(exist_ok=True)
    (folder / ".neo" / "files.jsonl").write_bytes(b"".join(listed))
    (folder / ".neo" / "lineage.json").write_bytes(sealed({"artifact": "f" * 64, "artifacts": [entry], "lacking": ""}))
    (folder / ".neo" / "about.json").write_text(json.dumps(about, indent=2) + "\n")


@pytest.mark.parametrize("name", ["lineage.json", "files.jsonl", "about.json", ""])
def test_records_of_a_copy_are_no_links(copy: Path, tmp_path: Path, name: str) -> None:
    linked(copy / ".neo" / name, tmp_path / "elsewhere")
    (finding,) = check_folder(copy).findings
    assert finding.kind == "record" and "is a link" in finding.told


def test_a_record_that_is_a_folder_or_a_pipe_is_a_finding(export: Path) -> None:
    for make in (os.mkdir, os.mkfifo):
        (export / "lineage.json").unlink() if make is os.mkdir else (export / "lineage.json").rmdir()
        make(export / "lineage.json")
        assert [(one.kind, one.told) for one in check_folder(export).findings] == [("record", "is no file")]


def test_a_copy_that_says_its_lineage_was_not_whole_has_no_root(copy: Path) -> None:
    resealed(copy / ".neo" / "lineage.json", lambda document: document.update(lacking="an ancestor is gone"))
    (finding,) = check_folder(copy).findings
    assert "lists ancestors or a root all the same" in finding.told


ODD: list[Any] = [None, True, 5, -1, 2.5, 10**30, "", "x", "1", "0" * 64, "../x", "/etc/hostname", "a\0b", "\x1b[31m",
                  "n" * 300, [], {}, [5], {"x": 5}, [[[]]], [None]]  # fmt: skip
"""What others may write in the place of a value."""


def places(value: Any) -> list[tuple[Any, Any]]:
    """Each container in a JSON value, with each of its keys."""
    here = [(value, key) for key in value] if isinstance(value, dict) else []
    here = [(value, index) for index in range(len(value))] if isinstance(value, list) else here
    return here + [place for container, key in here for place in places(container[key])]


def mutated(document: Any, chance: random.Random) -> None:
    """Change one value, leave one out, or add one."""
    container, key = chance.choice(places(document))
    kind, odd = chance.randrange(4), deepcopy(chance.choice([*ODD, container[key]]))
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, dict):
        container["more"] = odd
    elif kind == 1:
        container.append(odd)
    else:
        container[key] = odd


@pytest.mark.parametrize("made", ["export", "lineage.json", "files.jsonl"])
def test_a_mutated_record_ends_in_a_verdict(made: str, site: NeoSite, export: Path, tmp_path: Path) -> None:
    """Sealed again after each of 100 mutations: what is read is JSON of our spelling with right roots over it."""
    chance = random.Random(made)
    folder, name = (export, "lineage.json") if made == "export" else (tmp_path / "copy", f".neo/{made}")
    copy_of(tmp_path / "copy", LINES)
    whole = (folder / name).read_bytes()
    for number in range(100):
        if made == "files.jsonl":
            lines: list[Any] = [json.loads(line) for line in whole.splitlines()]
            mutated(lines, chance)
            (folder / name).write_bytes(b"".join(canonical(line) + b"\n" for line in lines))
        else:
            document = json.loads(whole)
            document.pop("document_root") if number % 5 else None
            mutated(document, chance)
            (folder / name).write_bytes(spelled(document))
        report = check_folder(folder)
        state = check_signature(report, folder / "model.sig", None)
        told = json.loads(json.dumps(document_of(report, state), ensure_ascii=False).encode())
        assert told["as_recorded"] == (not told["findings"]), (folder / name).read_bytes()
        assert all(len(one["what"].split()) > 1 for one in told["findings"])
        assert "s recorded" in sentences(report, state)[-1]
        if number < 3:
            said = site.neo("verify", str(folder), "--json")
            assert said.code in (0, 1) and said.json["findings"] == told["findings"]
    (folder / name).write_bytes(whole)
    assert check_folder(folder).findings == []


def spelled(document: dict[str, Any]) -> bytes:
    """A document with its root; where that cannot be computed any more, spelled alike."""
    try:
        return sealed(document)
    except (AttributeError, TypeError, ValueError):
        return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()
