"""A head says what its manifest says, whatever became of it: it is never read beside another manifest than its own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.artifacts import kinds
from stages.artifacts.artifact import Artifact
from stages.artifacts.head import (
    DRAWN,
    MAX_NAMED_FILES,
    MODEL_PREFIX,
    PACKED,
    RULE_COUNTS,
    ManifestHead,
    check_head,
    head_bytes,
    head_key,
    head_of,
    read_head,
)
from stages.artifacts.manifest import Manifest, ManifestFields, manifest_bytes, manifest_key
from stages.artifacts.records import STEPS_PHASE, FileEntry, ItemBalance, PartRecord
from stages.formats.draws import drawn_by_source
from stages.origins.scores import RuleFacts
from stages.store.errors import StoreError, TornRecordError
from stages.store.store import Store
from tests.stages.artifacts.test_manifest import FINGERPRINT, PARTS, STAGE, manifest, part, write


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def commit(store: Store, whole: Manifest) -> ManifestHead:
    """Write a manifest and its head."""
    data = manifest_bytes(whole)
    write(store, data)
    head = head_of(data)
    path_of_head(store).write_bytes(head_bytes(head))
    return head


def path_of_head(store: Store) -> Path:
    assert store.folder is not None
    return store.folder / head_key(STAGE, FINGERPRINT)


@pytest.mark.parametrize("parts", [(), PARTS[:1], PARTS])
@pytest.mark.parametrize("indent", ["as written", None, 2, 4])
def test_a_head_computed_from_a_manifest_says_what_it_says(
    store: Store, parts: tuple[PartRecord, ...], indent: int | str | None
) -> None:
    """Also of bytes that somebody indented otherwise, which cannot be cut into lines."""
    whole = manifest(*parts)
    data = manifest_bytes(whole)
    write(store, data if isinstance(indent, str) else json.dumps(json.loads(data), indent=indent).encode())
    head = read_head(store, STAGE, FINGERPRINT)
    assert head is not None and head.problem == "is missing"
    assert head.num_parts == len(parts)
    assert all(getattr(head, name) == getattr(whole, name) for name in ManifestFields.model_fields)
    assert Artifact(store, head).manifest == whole
    assert tuple(Artifact(store, head).each_part()) == parts


def test_a_head_that_is_stored_is_read_without_its_manifest(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    head = commit(store, manifest(*PARTS))
    asked: list[str] = []
    read = Store.read
    monkeypatch.setattr(Store, "read", lambda self, key: [asked.append(key), read(self, key)][1])
    assert read_head(store, STAGE, FINGERPRINT) == head
    assert asked == [head_key(STAGE, FINGERPRINT)]
    assert check_head(store, STAGE, FINGERPRINT) == ""


def lose(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def rename_stage(path: Path) -> None:
    path.write_text(path.read_text().replace('"stage": "learn"', '"stage": "leanr"'))


def another_size(path: Path) -> None:
    path.write_text(path.read_text().replace('"manifest_bytes": ', '"manifest_bytes": 1'))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lose, "is missing"),
        (cut, "is damaged"),
        (rename_stage, "is that of leanr/"),
        (another_size, "another manifest"),
    ],
)
def test_a_head_that_cannot_be_used_is_computed_again_and_says_why(
    store: Store, damage: Callable[[Path], None], words: str
) -> None:
    head = commit(store, manifest(*PARTS))
    damage(path_of_head(store))
    found = read_head(store, STAGE, FINGERPRINT)
    assert found is not None and words in found.problem and words in check_head(store, STAGE, FINGERPRINT)
    assert found.model_dump() == head.model_dump()
    assert not path_of_head(store).exists() or head_bytes(head) != path_of_head(store).read_bytes(), "reading wrote it"


def test_an_audit_compares_a_head_with_its_manifest(store: Store) -> None:
    head = commit(store, manifest(*PARTS))
    path_of_head(store).write_bytes(head_bytes(head.model_copy(update={"manifest_sha256": "f" * 64})))
    assert "is that of another manifest: of sha256 ffffffffffff" in check_head(store, STAGE, FINGERPRINT)
    path_of_head(store).write_bytes(head_bytes(head.model_copy(update={"items": ItemBalance(kept=9)})))
    assert check_head(store, STAGE, FINGERPRINT) == "differs from its manifest in: items"


def test_there_is_no_head_without_a_manifest(store: Store) -> None:
    commit(store, manifest(*PARTS))
    assert store.folder is not None
    (store.folder / manifest_key(STAGE, FINGERPRINT)).unlink()
    assert read_head(store, STAGE, FINGERPRINT) is None
    assert check_head(store, STAGE, FINGERPRINT) == ""


def test_a_damaged_manifest_beside_a_whole_head_is_named_by_who_reads_it(store: Store) -> None:
    head = commit(store, manifest(*PARTS))
    data = manifest_bytes(manifest(*PARTS))
    write(store, data.replace(b'"files"', b'"fi1es"', 1))
    artifact = Artifact(store, head)
    with pytest.raises(StoreError, match=r"manifest\.json of .* cannot be read as a manifest.*neo audit 01.* --repair"):
        artifact.manifest  # noqa: B018
    with pytest.raises(TornRecordError, match="a line of a part: "):
        list(artifact.each_part())
    write(store, data.replace(head.content.encode(), b"0" * 64))
    with pytest.raises(StoreError, match=r"and its head\.json disagree about what it holds"):
        Artifact(store, head).manifest  # noqa: B018


def test_a_head_sums_each_phase(store: Store) -> None:
    items = [ItemBalance(kept=1, dropped={"b": 1, "a": 2}), ItemBalance(kept=4, failed={"gone": 1})]
    parts = [one.model_copy(update={"items": of}) for one, of in zip(PARTS[:2], items, strict=True)]
    measured = part("m", "table.parquet", phase="measure")
    head = commit(store, manifest(measured, *parts))
    assert [(of.phase, of.num_parts, of.num_files, of.size_bytes) for of in head.phases] == [
        ("measure", 1, 1, 1),
        ("write", 2, 3, 3),
    ]
    assert head.last_phase.items == ItemBalance(kept=5, dropped={"a": 2, "b": 1}, failed={"gone": 1})
    assert (head.num_parts, head.size_bytes, head.at_step, head.holds_model) == (3, 4, None, True)
    assert [one.file.name for one in head.files] == ["table.parquet", "model/config.json"]
    assert head.file("config.json") == parts[1].files[0]


def test_a_head_of_a_training_has_its_last_step(store: Store) -> None:
    facts = {"step": 300, "skipped": [{"row": 1}, {"row": 2}]}
    head = commit(store, manifest(part("0", phase=STEPS_PHASE).model_copy(update={"facts": facts})))
    assert (head.at_step, head.num_skipped_rows) == (300, 2)


def test_a_head_does_not_grow_with_the_number_of_parts(store: Store) -> None:
    few, many = (
        len(head_bytes(commit(store, manifest(*(part(str(n), "t.parquet") for n in range(num)))))) for num in (20, 2000)
    )
    assert many - few < 20, "a few digits"


def test_a_head_names_so_many_files_and_no_more(store: Store) -> None:
    names = [f"{number}.json" for number in range(MAX_NAMED_FILES + 1)]
    head = commit(store, manifest(part("0", *names)))
    assert (len(head.files), head.has_more_files) == (MAX_NAMED_FILES, True)
    artifact = Artifact(store, head)
    assert artifact.find_file(names[-1]) is not None, "found in the manifest"
    assert artifact.find_file("absent.json") is None


def test_numbers_of_sources_are_those_that_draws_and_rows_record() -> None:
    drawn = [
        PartRecord(phase="draw", part=str(n), facts={"source": "ab"[n % 2], "num_samples": n, "num_drawn": 2})
        for n in range(5)
    ]
    whole = manifest(PartRecord(phase="mark", part="m"), *drawn).model_copy(update={"kind": "Draw"})
    assert head_of(manifest_bytes(whole)).sources == drawn_by_source(drawn)
    facts = {"sources": {"a": {"samples": 1, "tokens": 7}, "b": {"samples": 2}}}
    packed = [PartRecord(phase="write", part=str(n), facts=facts) for n in range(2)]
    head = head_of(manifest_bytes(manifest(*packed).model_copy(update={"kind": "Rows"})))
    assert head.sources == {"a": {"samples": 2, "tokens": 14}, "b": {"samples": 4}}


def test_a_draw_of_a_users_own_need_not_say_its_source() -> None:
    whole = manifest(PartRecord(phase="draw", part="0", facts={"num_samples": 3})).model_copy(update={"kind": "Draw"})
    assert head_of(manifest_bytes(whole)).sources == {}


def test_rules_of_filters_are_summed_over_parts_and_other_facts_of_that_name_are_none() -> None:
    facts: list[Any] = [
        {"a": {"null": 1, "applied to x": 2}},
        {"a": {"null": 4}, "b": {"no column": 5}},
        "words",
        {"c": 3},
    ]
    parts = [PartRecord(phase="judge", part=str(n), facts={RULE_COUNTS: one}) for n, one in enumerate(facts)]
    head = head_of(manifest_bytes(manifest(*parts)))
    assert head.rules == {"a": {"applied to x": 2, "null": 5}, "b": {"no column": 5}}
    assert RuleFacts(rule_counts=head.rules).dump() == {RULE_COUNTS: head.rules}


def test_the_names_that_a_head_knows_are_those_of_the_kinds() -> None:
    assert (kinds.Draw.kind, kinds.DRAW_PHASE) == DRAWN
    assert (kinds.Rows.kind, kinds.MODEL_PREFIX) == (PACKED, MODEL_PREFIX)


def test_a_file_is_opened_as_a_stream(store: Store) -> None:
    head = commit(store, manifest(*PARTS))
    artifact = Artifact(store, head)
    entry = FileEntry(name="a", key=f"{artifact.folder}/a", size_bytes=3, sha256="0" * 64)
    assert store.folder is not None
    (store.folder / entry.key).write_bytes(b"abc")
    with artifact.open(entry) as file:
        assert file.read() == b"abc"
    with pytest.raises(StoreError, match="is 3 bytes, 4 bytes were committed"):
        artifact.open(entry.model_copy(update={"size_bytes": 4}))
