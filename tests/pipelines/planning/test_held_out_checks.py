"""A plan says of each draw for training whether anything is held out, and of what was trained on that it is asked."""

import re
import shutil
from pathlib import Path

import pytest

import pipelines.recipes
from pipelines.planning.held_out_checks import asked_about_training
from pipelines.planning.request import NO_FINGERPRINT, FrozenStep, PlannedInput, Request
from stages.artifacts.manifest import Manifest, manifest_bytes, manifest_key
from stages.artifacts.records import InputRecord, ItemBalance, PartRecord
from stages.store.store import Store
from tests.pipelines.conftest import NeoSite

ASKS_ITS_TALKS = """
from pipelines.recipes.tiny import tiny
from stages.evaluate import EvaluateRecipe, evaluate

def seen():
    evaluation, _ = tiny()
    chat, talks = evaluation.edges["checkpoint"], evaluation
    while talks.name != "talks":
        talks = next(step for name, step in talks.edges.items() if name in NEXT)
    return evaluate.bind("own", EvaluateRecipe(max_new_tokens=8), chat, talks)

NEXT = ("checkpoint", "rows.0", "draw", "sources.talks")
"""


def remarks(site: NeoSite, pipeline: str) -> dict[str, bool]:
    steps = site.neo("plan", pipeline, "--json").json["steps"]
    return {step["name"]: step["holds_nothing_out"] for step in steps if step["stage"] == "mix_samples"}


def test_draws_that_hold_out_what_is_examined_get_no_remark(site: NeoSite) -> None:
    assert remarks(site, "tiny") == dict.fromkeys(("pretrain_mix", "mid_mix", "chat_mix", "heldout_mix"), False)


def test_a_draw_from_which_nothing_is_held_out_gets_one(site: NeoSite) -> None:
    assert set(remarks(site, "neo_2b").values()) == {True}
    assert "holds nothing out" in " ".join(site.neo("plan", "neo_2b").out.split())


def test_questions_of_the_training_are_refused_before_anything_is_made(site: NeoSite, tmp_path: Path) -> None:
    recipes = Path(pipelines.recipes.__path__[0])
    for name in ("sources.toml", "sources.lock"):
        shutil.copy(recipes / name, tmp_path / name)
    (tmp_path / "own.py").write_text(ASKS_ITS_TALKS)
    typed = f"{tmp_path}/own.py:seen"
    steps = {step["name"]: step["trained_on"] for step in site.neo("plan", typed, "--json").json["steps"]}
    told = steps.pop("own")
    assert set(steps.values()) == {""}
    drawn = r"(pretrain|mid|chat)_mix draws from (kept|pairs|talks)"
    said = f"chat is trained on what talks, bound to questions, asks about: {drawn} and does not hold the questions out"
    assert re.fullmatch(said, told)
    assert told in " ".join(site.neo("plan", typed).out.split())

    refused = site.neo("run", typed)
    assert refused.code == 3 and told in " ".join(refused.err.split())
    assert "--set own.allow_trained_on=true" in " ".join(refused.err.split())
    assert not list(site.store.keys("artifacts/"))
    allowed = site.neo("plan", typed, "--set", "own.allow_trained_on=true", "--json")
    assert not any(step["trained_on"] for step in allowed.json["steps"])
    assert not any(step["trained_on"] for step in site.neo("plan", "tiny", "--json").json["steps"])


def commit(store: Store, kind: str, stage: str, fingerprint: str, **inputs: str) -> FrozenStep:
    """An artifact without files, made of others by fingerprint, and the step that `--use` binds to it."""
    read = {
        name.replace("_", "."): InputRecord(stage=STAGES[one], fingerprint=one, content=one)
        for name, one in inputs.items()
    }
    manifest = Manifest(
        kind=kind, stage=stage, number=1, fingerprint=fingerprint, recipe={}, inputs=read,
        parts=(PartRecord(phase="p", part="0"),), items=ItemBalance(), content=fingerprint, versions={},
    )  # fmt: skip
    store.create(manifest_key(stage, fingerprint), manifest_bytes(manifest))
    return step(fingerprint[0] * 3, stage, kind, fingerprint, used=True)


STAGES = {"a" * 64: "import_pairs", "b" * 64: "mix_samples", "c" * 64: "tune_end_to_end"}


def step(name: str, stage: str, kind: str, fingerprint: str, *, used: bool = False, **reads: FrozenStep) -> FrozenStep:
    inputs = {
        slot: PlannedInput(step=one.name, stage=one.stage, fingerprint=one.fingerprint) for slot, one in reads.items()
    }
    return FrozenStep(
        name=name, import_path="", stage=stage, number=1, makes=kind, recipe={}, fingerprint=fingerprint, inputs=inputs,
        used=used,
    )  # fmt: skip


@pytest.mark.parametrize("is_known", [True, False])
def test_a_checkpoint_bound_by_use_brings_its_lineage(tmp_path: Path, *, is_known: bool) -> None:
    store = Store(tmp_path)
    pairs = commit(store, "RawPairs", "import_pairs", "a" * 64)
    if is_known:
        commit(store, "Draw", "mix_samples", "b" * 64, sources_pairs="a" * 64)
    tuned = commit(store, "Checkpoint", "tune_end_to_end", "c" * 64, draw="b" * 64)
    asked = step("exam", "read_questions", "Conversations", NO_FINGERPRINT, pictures=pairs)
    own = step("own", "evaluate", "Evaluation", NO_FINGERPRINT, checkpoint=tuned, questions=asked)
    request = Request(pipeline="own", request="own", targets=("own",), steps=(pairs, tuned, asked, own))
    found = asked_about_training(request, ["own"], store)
    told = (
        f"ccc is trained on what exam, bound to questions, asks about: mix_samples/{'b' * 12} draws from import_pairs/"
    )
    assert list(found) == (["own"] if is_known else [])
    assert all(remark.startswith(told) for remark in found.values())
    assert not asked_about_training(request, [], store)


def test_pairs_that_a_training_drew_from_are_told_too_by_the_name_of_the_input(tmp_path: Path) -> None:
    store = Store(tmp_path)
    pairs = commit(store, "RawPairs", "import_pairs", "a" * 64)
    commit(store, "Draw", "mix_samples", "b" * 64, sources_pairs="a" * 64)
    tuned = commit(store, "Checkpoint", "tune_end_to_end", "c" * 64, draw="b" * 64)
    others = step("others", "import_pairs", "RawPairs", NO_FINGERPRINT)
    exam = step("exam", "read_questions", "Conversations", NO_FINGERPRINT)
    own = step("own", "evaluate", "Evaluation", NO_FINGERPRINT, checkpoint=tuned, questions=exam, pairs=pairs)
    good = step("good", "evaluate", "Evaluation", NO_FINGERPRINT, checkpoint=tuned, questions=exam, pairs=others)
    steps = (pairs, tuned, others, exam, own, good)
    request = Request(pipeline="own", request="own", targets=("own",), steps=steps)
    drawn = f"mix_samples/{'b' * 12} draws from import_pairs/{'a' * 12}"
    assert asked_about_training(request, ["own", "good"], store) == {
        "own": f"ccc is trained on what aaa, bound to pairs, asks about: {drawn} and does not hold the pairs out"
    }
    both = own.model_copy(update={"inputs": {**own.inputs, "questions": own.inputs["pairs"]}})
    request = request.model_copy(update={"steps": (*steps[:-2], both, good)})
    told = asked_about_training(request, ["own"], store)["own"]
    assert [name in told for name in ("bound to questions", "; ", "bound to pairs")] == [True] * 3
