"""A manifest is read as a whole or part by part, and its digest covers what the parts hold."""

import hashlib
import json
from pathlib import Path

import pytest

from stages.artifacts.fingerprint import canonical_bytes
from stages.artifacts.head import read_head
from stages.artifacts.manifest import (
    Manifest,
    artifact_folder,
    content_digest,
    find_file,
    manifest_bytes,
    read_manifest,
    read_parts,
)
from stages.artifacts.records import STEPS_PHASE, FileEntry, InputRecord, ItemBalance, PartRecord
from stages.store.errors import TornRecordError
from stages.store.store import Store

STAGE, FINGERPRINT = "learn", "0123456789abcdef" * 4
KEY = f"{artifact_folder(STAGE, FINGERPRINT)}/manifest.json"


def part(name: str, *files: str, phase: str = "write") -> PartRecord:
    """A part with files of these names; its facts hold text that looks like the borders of a manifest."""
    entries = (FileEntry(name=file, key=f"{name}/{file}", size_bytes=1, sha256=name[0] * 64) for file in files)
    return PartRecord(phase=phase, part=name, files=tuple(entries), facts={"text": '\n  ],\n    {\n  "parts": ['})


def manifest(*parts: PartRecord) -> Manifest:
    return Manifest(
        kind="Checkpoint",
        stage=STAGE,
        number=3,
        fingerprint=FINGERPRINT,
        recipe={"note": '\n  "parts": [\n    {'},
        inputs={"rows": InputRecord(stage="pack_rows", fingerprint="a" * 64, content="b" * 64)},
        items=ItemBalance(kept=2),
        content=content_digest(parts),
        versions={"python": "3.11.9"},
        provenance={"run": "r"},
        parts=parts,
    )


PARTS = (part("0", "log.txt"), part("1", "model/config.json", "config.json"), part("2"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def write(store: Store, data: bytes) -> None:
    assert store.folder is not None
    path = store.folder / KEY
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.mark.parametrize("parts", [(), PARTS[:1], PARTS])
@pytest.mark.parametrize("indent", ["as written", None, 2])
@pytest.mark.parametrize("stretch_bytes", [64, 1_000_000])
def test_parts_are_read_one_at_a_time(
    store: Store,
    parts: tuple[PartRecord, ...],
    indent: int | str | None,
    stretch_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also of bytes that somebody indented otherwise, which are read as a whole."""
    monkeypatch.setattr("stages.artifacts.manifest.STRETCH_BYTES", stretch_bytes)
    data = manifest_bytes(manifest(*parts))
    write(store, data if isinstance(indent, str) else json.dumps(json.loads(data), indent=indent).encode())
    assert tuple(read_parts(store, STAGE, FINGERPRINT)) == parts


def test_a_list_of_parts_that_was_cut_short_is_torn(store: Store) -> None:
    data = manifest_bytes(manifest(*PARTS))
    write(store, data[: data.index(b'\n  ],\n  "provenance')])
    with pytest.raises(TornRecordError, match="its list of parts has no end"):
        list(read_parts(store, STAGE, FINGERPRINT))


def test_an_artifact_that_was_not_committed_has_neither(store: Store) -> None:
    assert read_head(store, STAGE, FINGERPRINT) is None
    assert list(read_parts(store, STAGE, FINGERPRINT)) == []
    assert read_manifest(store, STAGE, FINGERPRINT) is None


@pytest.mark.parametrize("read", [read_head, read_manifest])
def test_a_torn_manifest_is_refused(store: Store, read: object) -> None:
    data = manifest_bytes(manifest(*PARTS))
    write(store, data[: len(data) // 2])
    with pytest.raises(TornRecordError, match=r"manifest\.json does not parse"):
        read(store, STAGE, FINGERPRINT)


def test_the_content_digest_is_that_of_the_list_of_contents() -> None:
    contents = [one.content for one in PARTS]
    assert content_digest(PARTS) == hashlib.sha256(canonical_bytes(contents)).hexdigest()
    assert content_digest(PARTS) != content_digest(PARTS[::-1])


def test_the_content_digest_ignores_the_numbers_of_checkpoints() -> None:
    undisturbed, resumed = (
        tuple(part(name, phase=STEPS_PHASE) for name in names) for names in (("1", "2"), ("1", "5"))
    )
    assert content_digest(undisturbed) == content_digest(resumed)
    assert content_digest(undisturbed) != content_digest(undisturbed[:1])


def test_a_file_is_found_in_any_part_and_folder() -> None:
    whole = manifest(*PARTS)
    entry = find_file(whole, "config.json")
    assert entry is not None
    assert entry.name == "model/config.json"
    assert find_file(whole, "absent.json") is None
