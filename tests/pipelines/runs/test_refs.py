"""A reference is a run, a name, or the beginning of a fingerprint; what is ambiguous is listed."""

import pytest

from pipelines.exits import BadCommandError
from pipelines.runs.refs import resolve, resolve_artifact
from stages.artifacts.manifest import Manifest
from stages.store.refs import set_ref
from stages.store.store import Store


def commit(store: Store, stage: str, fingerprint: str) -> None:
    manifest = Manifest(
        kind="RawPairs",
        stage=stage,
        number=1,
        fingerprint=fingerprint,
        recipe={},
        inputs={},
        parts=(),
        items={},
        content="c" * 64,
        versions={},
    )
    store.create_json(f"artifacts/{stage}/{fingerprint[:12]}/manifest.json", manifest.model_dump(mode="json"))


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path)
    commit(store, "fetch", "abcd1111" + "0" * 56)
    commit(store, "fetch", "abcd2222" + "0" * 56)
    commit(store, "judge", "abcd2222" + "1" * 56)
    return store


def test_the_beginning_of_a_fingerprint_is_enough(store: Store) -> None:
    assert resolve_artifact(store, "abcd1") == ("fetch", "abcd1111" + "0" * 56)
    assert resolve_artifact(store, "abcd1111" + "0" * 56)[0] == "fetch"
    assert resolve_artifact(store, "judge/abcd2222")[0] == "judge"


def test_an_ambiguous_beginning_lists_what_it_could_be(store: Store) -> None:
    with pytest.raises(BadCommandError, match="fetch/abcd22220000, judge/abcd22221111; type more of it"):
        resolve(store, "abcd2222")


def test_the_whole_fingerprint_must_agree_beyond_what_paths_show(store: Store) -> None:
    with pytest.raises(BadCommandError, match="is not committed"):
        resolve(store, "abcd1111" + "0" * 55 + "1")


@pytest.mark.parametrize("ref", ["abc", "nothing", "tiny/nothing", "../../etc", "ffff"])
def test_what_is_not_there_is_said_with_what_a_reference_is(store: Store, ref: str) -> None:
    with pytest.raises(BadCommandError, match="is called .*; a reference is a run, a name such as tiny/evaluate"):
        resolve(store, ref)


def test_a_name_points_at_the_last_it_was_given_to(store: Store) -> None:
    set_ref(store, "tiny/pairs", {"stage": "fetch", "fingerprint": "abcd1111" + "0" * 56})
    set_ref(store, "tiny/pairs", {"stage": "judge", "fingerprint": "abcd2222" + "1" * 56})
    assert resolve_artifact(store, "tiny/pairs")[0] == "judge"


def test_an_artifact_under_way_says_how_far_it_is(store: Store) -> None:
    folder = "artifacts/fetch/eeee11110000"
    store.create_json(f"{folder}/phases/fetch/parts.json", [{"name": "a"}, {"name": "b"}])
    store.create_json(f"{folder}/records/fetch/a.json", {})
    with pytest.raises(BadCommandError, match="is not committed: fetch 1 of 2 parts recorded"):
        resolve(store, "eeee1111")
