"""What a model learned from is told apart from what it was examined on, measured on or kept away from."""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence

import stages
from stages.artifacts.head import ManifestHead, head_of
from stages.artifacts.learned import NOT_HELD_INPUTS, Use, learned_from, used_otherwise
from stages.artifacts.manifest import CONDUCT_INPUTS, Manifest, manifest_bytes
from stages.artifacts.records import InputRecord, ItemBalance, PartRecord
from stages.contract import Stage


def head(
    stage: str, name: str, inputs: Mapping[str, str], conduct: Sequence[str] = (), *, kind: str = "Any"
) -> ManifestHead:
    """The head of an artifact of `stage`, with its name as fingerprint; `inputs` by the names of their artifacts."""
    read = {slot: InputRecord(stage="any", fingerprint=made, content=made) for slot, made in inputs.items()}
    manifest = Manifest(
        kind=kind,
        stage=stage,
        number=1,
        fingerprint=name,
        recipe={},
        inputs=read,
        parts=(PartRecord(phase="p", part="0"),),
        items=ItemBalance(),
        content=name,
        versions={},
        provenance={CONDUCT_INPUTS: [*conduct]} if conduct else {},
    )
    return head_of(manifest_bytes(manifest))


CHAIN = [
    head("download_pairs", "pairs", {}),
    head("download_pairs", "heldout pairs", {}),
    head("read_conversations", "questions", {"pictures": "heldout pairs"}),
    head("fetch_llm", "llm", {}),
    head("dedup_pairs", "unique", {"raw": "pairs", "benchmarks.own": "questions"}),
    head("mix_samples", "draw", {"sources.pairs": "unique", "heldout.pairs": "heldout pairs"}),
    head("mix_samples", "heldout draw", {"sources.questions": "questions"}),
    head("pack_rows", "rows", {"draw": "draw", "llm": "llm"}),
    head("pack_rows", "heldout rows", {"draw": "heldout draw", "llm": "llm"}),
    head("import_checkpoint", "start", {}),
    head(
        "tune_end_to_end",
        "model",
        {"start": "start", "rows.0": "rows", "heldout_rows": "heldout rows", "questions": "questions"},
        ("heldout_rows", "questions"),
    ),
    head("evaluate", "evaluation", {"checkpoint": "model", "questions": "exam"}),
    head("read_questions", "exam", {"pictures": "pairs"}),
]


def test_rows_of_the_training_are_learned_from_and_held_out_ones_are_not() -> None:
    assert learned_from(CHAIN, "model") == {"model", "start", "rows", "draw", "unique", "pairs"}


def test_what_an_export_was_measured_on_it_has_not_learned() -> None:
    export = head("export", "export", {"checkpoint": "model", "evaluations.exam": "evaluation"})
    assert learned_from([*CHAIN, export], "export") == learned_from(CHAIN, "model") | {"export"}


def test_each_other_use_is_named_with_all_that_lies_behind_it() -> None:
    evaluation = next(one for one in CHAIN if one.fingerprint == "evaluation")
    examined, kept_out, measured = Use.EXAMINED, Use.KEPT_OUT, Use.MEASURED
    assert used_otherwise(CHAIN, "model", [evaluation]) == {
        "pairs": (measured,),  # and learned from: its pictures are asked about
        "heldout pairs": (examined, kept_out),
        "questions": (examined, kept_out),
        "heldout draw": (examined,),
        "heldout rows": (examined,),
        "exam": (measured,),
    }
    assert "exam" not in used_otherwise(CHAIN, "model")


def test_an_input_of_a_users_own_stage_counts_as_learned_from() -> None:
    chain = [head("any", "samples", {}), head("my_tune", "model", {"questions": "samples"})]
    assert learned_from(chain, "model") == {"model", "samples"}


LEARNED_INPUTS = {
    ("caption_by_checkpoint", "captioner"), ("caption_by_checkpoint", "raw"), ("caption_pairs", "raw"),
    ("dedup_pairs", "raw"), ("dedup_texts", "raw"), ("evaluate", "checkpoint"), ("evaluate", "questions"),
    ("evaluate", "pairs"),  # measured on, as its questions are: of an evaluation nothing is made that learns
    ("export", "checkpoint"), ("filter_clips", "raw"), ("filter_pairs", "raw"), ("filter_text", "raw"),
    ("merge_post_llm", "llm"), ("merge_post_llm", "prebuffer"), ("mix_samples", "sources"), ("pack_rows", "draw"),
    ("read_conversations", "clips"), ("read_conversations", "pictures"), ("read_questions", "clips"),
    ("read_questions", "pictures"), ("score_pairs", "raw"), ("take_prebuffer", "checkpoint"),
    ("train_prebuffer", "llm"), ("train_prebuffer", "rows"), ("train_prebuffer", "start"),
    ("tune_end_to_end", "rows"), ("tune_end_to_end", "start"),
    ("download_pairs", "extends"), ("retry_pairs", "extends"),  # the parts of these pairs are taken over
}  # fmt: skip


def test_of_every_input_of_a_shipped_stage_it_is_decided_what_it_is_for() -> None:
    """A new input stands in one of the sets, or is declared as conduct."""
    modules = [importlib.import_module(f"stages.{one.name}") for one in pkgutil.iter_modules(stages.__path__)]
    shipped = {thing for module in modules for thing in vars(module).values() if isinstance(thing, Stage)}
    inputs = {(one.name, slot.name) for one in shipped for slot in one.slots if not slot.is_conduct}
    assert inputs == LEARNED_INPUTS | NOT_HELD_INPUTS
