"""What a plan, a name or an artifact leads to: inputs, forks, artifacts of which parts were taken over."""

from pathlib import Path

import pytest

from pipelines.garbage.reachability import ASIDE, Reachability
from stages.artifacts.manifest import FORK, Manifest, manifest_bytes, manifest_key
from stages.artifacts.records import InputRecord, ItemBalance, PartRecord
from stages.commit.checkpoints import ForkRecord
from stages.contract import Fork
from stages.store.errors import TornRecordError
from stages.store.refs import set_ref
from stages.store.store import Store


def name(letter: str) -> tuple[str, str]:
    return "make", letter * 12


def read(letter: str) -> InputRecord:
    return InputRecord(stage="make", fingerprint=letter * 64, content=letter)


def commit(store: Store, letter: str, *inputs: str, **provenance: object) -> None:
    manifest = Manifest(
        kind="Any", stage="make", number=1, fingerprint=letter * 64, recipe={}, versions={}, content=letter,
        inputs={one: read(one) for one in inputs}, parts=(PartRecord(phase="p", part="0"),), items=ItemBalance(),
        provenance=provenance,
    )  # fmt: skip
    store.create(manifest_key("make", letter * 64), manifest_bytes(manifest))


def fork(letter: str, *inputs: str, begun_from: Fork | None = None) -> Fork:
    read_by_it = {one: read(one) for one in inputs}
    return Fork(
        stage="make", fingerprint=letter * 64, at_step=1, content="", recipe={}, inputs=read_by_it, course=(),
        begun_from=begun_from,
    )  # fmt: skip


def reached(store: Store, **options: object) -> set[str]:
    found = Reachability(store, **options)  # type: ignore[arg-type]
    found.refresh()
    return {digits[0] for _, digits in found}


def point(store: Store, letter: str, named: str = "own/step") -> None:
    set_ref(store, named, {"stage": "make", "fingerprint": letter * 64})


def test_all_that_an_artifact_was_made_of_is_reached(tmp_path: Path) -> None:
    store = Store(tmp_path)
    commit(store, "a")
    commit(store, "b", "a")
    commit(store, "c", "b", taken_over={f"make/{'d' * 12}": 3})
    commit(store, "d", "e")
    commit(store, "e")
    commit(store, "f", "c")
    point(store, "f")
    point(store, "c")
    found = Reachability(store)
    found.refresh()
    assert {digits[0] for _, digits in found} == set("abcde"), "the name points at f no more"
    assert found.lends_parts == {name("d")}
    assert reached(store, keep=[name("f")]) == set("abcdef")


def test_trainings_that_others_fork_are_reached_unfinished_or_not(tmp_path: Path) -> None:
    store = Store(tmp_path)
    older = fork("c", "d")
    commit(store, "a", "b", **{FORK: fork("b", "e", begun_from=older).model_dump(mode="json")})
    point(store, "a")
    assert reached(store) == set("abcde")
    begun = ForkRecord(fork=fork("h", "i"), checkpoint=PartRecord(phase="steps", part="000000"))
    store.create_json(f"artifacts/make/{'g' * 12}/fork.json", begun.model_dump(mode="json"))
    store.create_json(f"artifacts/make/{'g' * 12}/inputs.json", {"rows": read("j").model_dump()})
    store.create_json(f"artifacts/make/{'g' * 12}/conduct_inputs/0.json", {"heldout": read("k").model_dump()})
    point(store, "g", "own/other")
    assert reached(store) == set("abcdeghijk")


def test_what_is_new_is_read_when_asked_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    commit(store, "a")
    found = Reachability(store)
    found.refresh()
    assert name("a") not in found
    point(store, "a")
    found.refresh()
    assert name("a") in found


def test_nothing_is_told_while_a_needed_record_is_damaged(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create(manifest_key("make", "a" * 64), b"{")
    point(store, "a")
    with pytest.raises(TornRecordError):
        reached(store)
    other = Store(tmp_path / "other")
    other.create("runs/own-1/plan.json", b"{")
    with pytest.raises(TornRecordError):
        reached(other)
    assert reached(other, forgotten=["own-1"]) == set()


def test_what_was_made_of_an_artifact_is_before_it_damaged_or_quarantined(tmp_path: Path) -> None:
    store = Store(tmp_path)
    commit(store, "e")
    commit(store, "a", "e")
    commit(store, "b", taken_over={f"make/{'c' * 12}": 1})
    commit(store, "c", "a")
    commit(store, "d", "a")
    store.quarantine(manifest_key(*name("b")), ASIDE)
    store.create_json(f"artifacts/make/{'f' * 12}/inputs.json", {"rows": read("b").model_dump()})
    store.create(manifest_key(*name("f")), b"{")
    found = Reachability(store)
    ordered = [digits[0] for _, digits in found.children_first(name(letter) for letter in "abcdef")]
    assert "".join(letter for letter in ordered if letter != "d") == "fbcae"
    assert ordered.index("d") < ordered.index("a") and not found.lends_parts
    found.keep([name("b")])
    assert {digits[0] for _, digits in found} == set("bcae") and found.lends_parts == {name("c")}
