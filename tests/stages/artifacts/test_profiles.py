"""Profiles are found beside the artifact that holds the files of their parts, and pictures beside their artifact."""

from pathlib import Path

from stages.artifacts.artifact import CommittedArtifact
from stages.artifacts.head import ManifestHead
from stages.artifacts.profiles import profile_files, profile_key, profile_keys, profile_pictures
from stages.artifacts.records import FileEntry, ItemBalance, PartRecord
from stages.store.store import Store

FOLDER = "artifacts/filter_pairs/0123456789ab"


def entry(name: str, folder: str = FOLDER) -> FileEntry:
    return FileEntry(name=name, key=f"{folder}/attempts/run-1/{name}", size_bytes=1, sha256="0" * 64)


def artifact(store: Store) -> CommittedArtifact:
    head = ManifestHead(
        kind="KeptPairs", stage="filter_pairs", number=3, fingerprint="0123456789ab" + "0" * 52, recipe={},
        inputs={}, items=ItemBalance(), content="", versions={}, phases=(), holds_model=False,
        manifest_sha256="", manifest_bytes=0,
    )  # fmt: skip
    return CommittedArtifact(store, head)


def test_a_part_that_another_artifact_made_has_its_profile_there() -> None:
    own = PartRecord(phase="judge", part="00000", files=(entry("verdicts.parquet"),))
    taken = PartRecord(phase="judge", part="00001", files=(entry("verdicts.parquet", "artifacts/filter_pairs/ff"),))
    nothing = PartRecord(phase="judge", part="00002")
    assert profile_keys([own, taken, nothing]) == [
        profile_key(FOLDER, "judge", "00000"),
        "artifacts/filter_pairs/ff/profiles/judge/00001.json",
    ]


def test_pictures_are_those_of_the_record(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = artifact(store)
    assert profile_files(made) == ()
    key, files = f"{FOLDER}/records/profile/pictures.json", [entry("funnel.png"), entry("profile.json")]
    store.create_json(key, PartRecord(phase="profile", part="pictures", files=tuple(files)).model_dump())
    assert [one.name for one in profile_files(made)] == ["funnel.png", "profile.json"]
    assert [one.name for one in profile_pictures(made)] == ["funnel.png"]


def test_a_torn_record_shows_no_pictures(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create(f"{FOLDER}/records/profile/pictures.json", b'{"phase": "pro')
    assert profile_files(artifact(store)) == ()
