"""Parts, records, manifests: what is made once stays, and what no record names does not exist."""

import json
from functools import partial
from pathlib import Path

import pytest

from cluster.local import local_context
from stages.artifacts.artifact import Artifact, open_artifact
from stages.artifacts.head import head_bytes, head_of, read_head
from stages.artifacts.manifest import read_manifest
from stages.artifacts.records import FileEntry, ItemBalance, total
from stages.commit.attempt import AttemptId
from stages.commit.execute_step import complete_head, execute_step
from stages.commit.step_spec import StepSpec
from stages.contract import BindError, Part, PartDraft, Recipe, StageContext, StageError, SupersededError, stage
from stages.store.errors import TornRecordError
from stages.store.store import Store


class Words(Artifact):
    """Tables of words."""


class Lengths(Artifact):
    """Lengths of words."""


class WordsRecipe(Recipe):
    words: tuple[str, ...]
    num_parts: int = 2


class LengthsRecipe(Recipe):
    min_length: int = 1


def write_words(part: Part, draft: PartDraft, calls: Path) -> None:
    with calls.open("a") as file:
        file.write(part.name + "\n")
    draft.path("words.txt").write_text("\n".join(part.task["words"]))
    draft.count(ItemBalance(kept=len(part.task["words"])))


CALLS = Path("unset")


@stage(number=1, recipe=WordsRecipe, makes=Words)
def make_words(recipe: WordsRecipe, *, ctx: StageContext) -> None:
    parts = [
        Part(name=f"{n:05d}", task={"words": list(recipe.words[n :: recipe.num_parts])})
        for n in range(recipe.num_parts)
    ]
    ctx.spread(partial(write_words, calls=CALLS), over=parts, phase="write")


def measure(part: Part, draft: PartDraft, words: Words, min_length: int) -> None:
    text = words.read(words.part(part.name).file("words.txt")).decode().split()
    kept = [word for word in text if len(word) >= min_length]
    draft.path("lengths.txt").write_text(" ".join(str(len(word)) for word in kept))
    draft.count(ItemBalance(kept=len(kept), dropped={"too_short": len(text) - len(kept)}))


@stage(number=1, recipe=LengthsRecipe, makes=Lengths)
def measure_words(recipe: LengthsRecipe, words: Words, *, ctx: StageContext) -> None:
    over = [Part(name=record.part, num_items=record.items.kept) for record in words.parts]
    ctx.spread(partial(measure, words=words, min_length=recipe.min_length), over=over, phase="measure")


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "calls.txt"
    path.touch()
    monkeypatch.setattr(f"{__name__}.CALLS", path)
    return path


def spec(step, store: Store, attempt: str = "run-1") -> StepSpec:
    return StepSpec.of(step, store, AttemptId.parse(attempt))


def make(step, store: Store, attempt: str = "run-1"):
    events = []
    manifest = execute_step(spec(step, store, attempt), local_context, events.append)
    return manifest, events


def test_a_committed_artifact_is_reused_and_its_parts_are_made_once(tmp_path: Path, calls: Path) -> None:
    store = Store(tmp_path / "store")
    step = make_words.bind("words", WordsRecipe(words=("red", "blue", "green")))
    first, _ = make(step, store)
    second, events = make(step, store, "run-2")
    assert first == second
    assert [event.outcome for event in events if event.event == "ended"] == ["reused"]
    assert sorted(calls.read_text().split()) == ["00000", "00001"]
    assert first.items == ItemBalance(kept=3)


def test_parts_recorded_before_a_death_are_not_made_again(tmp_path: Path, calls: Path) -> None:
    store = Store(tmp_path / "store")
    step = make_words.bind("words", WordsRecipe(words=("red", "blue", "green")))
    make(step, store)
    folder = store.folder / "artifacts" / "make_words" / step.fingerprint[:12]
    (folder / "manifest.json").unlink()
    (folder / "records" / "write" / "00001.json").unlink()
    again, _ = make(step, store, "run-2")
    assert calls.read_text().split() == ["00000", "00001", "00001"]
    assert [part.made_by["attempt"] for part in again.parts] == ["run-1", "run-2"]


def test_a_torn_record_is_moved_aside_and_its_part_made_again(tmp_path: Path, calls: Path) -> None:
    store = Store(tmp_path / "store")
    step = make_words.bind("words", WordsRecipe(words=("red", "blue")))
    whole, _ = make(step, store)
    folder = store.folder / "artifacts" / "make_words" / step.fingerprint[:12]
    (folder / "manifest.json").unlink()
    (folder / "records" / "write" / "00000.json").write_text('{"phase": "wri')
    again, _ = make(step, store, "run-2")
    assert again.content == whole.content
    assert (folder / "records" / "write" / "00000.json.torn-0").is_file()


def test_a_torn_manifest_is_moved_aside_and_folded_again(tmp_path: Path, calls: Path) -> None:
    store = Store(tmp_path / "store")
    step = make_words.bind("words", WordsRecipe(words=("red", "blue")))
    whole, _ = make(step, store)
    folder = store.folder / "artifacts" / "make_words" / step.fingerprint[:12]
    (folder / "manifest.json").write_text('{"kind": "Wor')
    again, _ = make(step, store, "run-2")
    assert again.content == whole.content and again.parts == whole.parts
    assert (folder / "manifest.json.torn-0").is_file() and (folder / "head.json.torn-0").is_file()
    assert read_head(store, "make_words", step.fingerprint).problem == ""


def test_killed_between_a_manifest_and_its_head_the_artifact_is_committed(
    tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers compute the head; what writes it is the next attempt of a run that reuses the artifact."""
    store = Store(tmp_path / "store")
    step = make_words.bind("words", WordsRecipe(words=("red", "blue")))
    monkeypatch.setenv("NEO_FAULT", "artifact.head_written:before=raise")
    with pytest.raises(OSError, match="artifact.head_written|asked for by"):
        make(step, store)
    monkeypatch.delenv("NEO_FAULT")
    head = read_head(store, "make_words", step.fingerprint)
    assert head.problem == "is missing"
    _, events = make(step, store, "run-2")
    assert [event.outcome for event in events if event.event == "ended"] == ["reused"]
    complete_head(store, head)
    assert read_head(store, "make_words", step.fingerprint).problem == ""


def test_a_head_of_an_earlier_manifest_is_replaced(tmp_path: Path, calls: Path) -> None:
    store = Store(tmp_path / "store")
    step = make_words.bind("words", WordsRecipe(words=("red", "blue")))
    make(step, store)
    folder = store.folder / "artifacts" / "make_words" / step.fingerprint[:12]
    before = (folder / "head.json").read_text()
    (folder / "head.json").write_text(before.replace('"attempt": "run-1"', '"attempt": "run-0"'))
    (folder / "manifest.json").unlink()
    again, _ = make(step, store, "run-2")
    head = read_head(store, "make_words", step.fingerprint)
    assert head.provenance["attempt"] == again.provenance["attempt"] == "run-2"


def test_a_manifest_has_a_line_for_each_part_and_its_keys_in_spec(tmp_path: Path, calls: Path) -> None:
    store = Store(tmp_path / "store")
    step = make_words.bind("words", WordsRecipe(words=("r\u00e9d\n", "blue", "green")))
    manifest, _ = make(step, store)
    data = store.read(f"artifacts/make_words/{step.fingerprint[:12]}/manifest.json")
    assert list(json.loads(data)) == sorted(type(manifest).model_fields)
    assert [json.loads(line.strip().rstrip(b",")) for line in data.splitlines() if b'"phase": "write"' in line] == [
        part.model_dump(mode="json") for part in manifest.parts
    ]
    assert read_manifest(store, "make_words", step.fingerprint) == manifest
    assert store.read(f"artifacts/make_words/{step.fingerprint[:12]}/head.json") == head_bytes(head_of(data))
    head = read_head(store, "make_words", step.fingerprint)
    assert (head.problem, head.num_parts, head.content) == ("", len(manifest.parts), manifest.content)


@pytest.mark.parametrize("share", [0.2, 0.6, 0.99], ids=["in its fields", "in its parts", "near its end"])
def test_a_manifest_that_was_cut_short_has_no_head(tmp_path: Path, calls: Path, share: float) -> None:
    store = Store(tmp_path / "store")
    step = make_words.bind("words", WordsRecipe(words=("red", "blue", "green")))
    make(step, store)
    path = store.folder / "artifacts" / "make_words" / step.fingerprint[:12] / "manifest.json"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(TornRecordError, match="does not parse"):
        read_head(store, "make_words", step.fingerprint)
    path.unlink()
    assert read_head(store, "make_words", step.fingerprint) is None


def test_balances_are_added_reason_by_reason() -> None:
    one = ItemBalance(kept=1, dropped={"tiny": 2}, failed={"gone": 1})
    two = ItemBalance(kept=2, dropped={"dull": 1, "tiny": 1})
    both = ItemBalance(kept=3, dropped={"dull": 1, "tiny": 3}, failed={"gone": 1})
    assert total([one, two]) == one + two == both
    assert total([]) == ItemBalance()


def test_the_balance_of_a_part_must_account_for_every_item(tmp_path: Path, calls: Path) -> None:
    def lose_one(part: Part, draft: PartDraft) -> None:
        draft.count(ItemBalance(kept=4))

    with local_context(spec(make_words.bind("w", WordsRecipe(words=())), Store(tmp_path)).writer, print) as ctx:
        with pytest.raises(StageError, match="given 5 items and accounts for 4"):
            ctx.spread(lose_one, over=[Part(name="a", num_items=5)], phase="p")


def test_a_part_must_write_what_it_promised(tmp_path: Path) -> None:
    def forget(part: Part, draft: PartDraft) -> None:
        draft.path("words.txt")

    with local_context(spec(make_words.bind("w", WordsRecipe(words=())), Store(tmp_path)).writer, print) as ctx:
        with pytest.raises(StageError, match=r"promised \['words.txt'\]"):
            ctx.spread(forget, over=[Part(name="a")], phase="p")


def test_files_written_beside_a_promised_one_belong_to_the_part(tmp_path: Path) -> None:
    def save_folder(part: Part, draft: PartDraft) -> None:
        folder = draft.path("model/config.json").parent
        for name in ("config.json", "tokenizer.json"):
            (folder / name).write_text("{}")
        (draft.scratch / "draft.txt").write_text("not a file of the part")

    with local_context(spec(make_words.bind("w", WordsRecipe(words=())), Store(tmp_path)).writer, print) as ctx:
        (record,) = ctx.spread(save_folder, over=[Part(name="a")], phase="p")
    assert [entry.name for entry in record.files] == ["model/config.json", "model/tokenizer.json"]


def test_an_artifact_opens_its_inputs_and_notices_a_changed_size(tmp_path: Path, calls: Path) -> None:
    store = Store(tmp_path / "store")
    words = make_words.bind("words", WordsRecipe(words=("red", "blue", "green")))
    lengths = measure_words.bind("lengths", LengthsRecipe(min_length=4), words)
    make(words, store)
    manifest, _ = make(lengths, store)
    assert manifest.items == ItemBalance(kept=2, dropped={"too_short": 1})
    opened = open_artifact(store, "measure_words", lengths.fingerprint, Lengths).input("words", Words)
    entry: FileEntry = opened.parts[0].files[0]
    (store.folder / entry.key).write_text("r")
    with pytest.raises(Exception, match="1 bytes, .* were committed"):
        opened.read(entry)


def test_bind_names_the_step_the_input_and_what_was_expected() -> None:
    words = make_words.bind("words", WordsRecipe(words=()))
    lengths = measure_words.bind("lengths", LengthsRecipe(), words)
    with pytest.raises(BindError, match="step 'x': input 'words' takes Words, but step 'lengths' makes Lengths"):
        measure_words.bind("x", LengthsRecipe(), lengths)
    with pytest.raises(BindError, match="reads words: Words; got 0 inputs"):
        measure_words.bind("x", LengthsRecipe())
    with pytest.raises(BindError, match="takes a LengthsRecipe"):
        measure_words.bind("x", WordsRecipe(words=()), words)


def test_what_was_made_of_other_content_is_moved_aside_and_made_again(tmp_path: Path, calls: Path) -> None:
    store = Store(tmp_path / "store")
    words = make_words.bind("words", WordsRecipe(words=("red", "blue", "green")))
    lengths = measure_words.bind("lengths", LengthsRecipe(), words)
    make(words, store)
    before, _ = make(lengths, store)
    folder = store.folder / "artifacts" / "make_words" / words.fingerprint[:12]
    manifest = read_manifest(store, "make_words", words.fingerprint)
    changed = manifest.model_copy(update={"content": "0" * 64})
    (folder / "manifest.json").write_text(changed.model_dump_json())
    after, events = make(lengths, store, "run-2")
    assert after.inputs["words"].content == "0" * 64 != before.inputs["words"].content
    assert [event.outcome for event in events if event.event == "ended"] == ["committed"]
    assert {part.made_by["attempt"] for part in after.parts} == {"run-2"}
    made = store.folder / "artifacts" / "measure_words" / lengths.fingerprint[:12]
    assert (made / "manifest.json.outdated-0").is_file()
    _, events = make(lengths, store, "run-3")
    assert [event.outcome for event in events if event.event == "ended"] == ["reused"]


def test_whoever_was_overtaken_moves_nothing_aside(tmp_path: Path, calls: Path, monkeypatch) -> None:
    store = Store(tmp_path / "store")
    words = make_words.bind("words", WordsRecipe(words=("red", "blue", "green")))
    lengths = measure_words.bind("lengths", LengthsRecipe(), words)
    make(words, store)
    make(lengths, store)
    folder = store.folder / "artifacts" / "make_words" / words.fingerprint[:12]
    changed = read_manifest(store, "make_words", words.fingerprint).model_copy(update={"content": "0" * 64})
    (folder / "manifest.json").write_text(changed.model_dump_json())
    made = store.folder / "artifacts" / "measure_words" / lengths.fingerprint[:12]
    monkeypatch.setattr("stages.commit.claims.Claim.superseded_by", lambda claim: "attempt 3 of run run")
    with pytest.raises(SupersededError, match="superseded by attempt 3 of run run"):
        make(lengths, store, "run-2")
    assert [path.name for path in made.rglob("*.outdated-0")] == []
