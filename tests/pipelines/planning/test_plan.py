"""A plan says for each step make, reuse or continue, and why; it changes nothing."""

import json
from pathlib import Path

import pytest

from pipelines.exits import BadCommandError
from pipelines.planning.catalog import Pipeline
from pipelines.planning.plan import decide
from pipelines.planning.request import Selection, freeze
from pipelines.runs.resume import check_plan_matches_code
from stages.artifacts.kinds import KeptPairs, RawPairs
from stages.contract import Stage, StageContext, stage
from tests.pipelines.conftest import TOYS, NeoSite
from tests.worlds.pipeline_world import (
    FetchRecipe,
    JudgeRecipe,
    LlmRecipe,
    TrainRecipe,
    fetch_toys,
    judge_toys,
    toy_llm,
    train_toy,
)

DATA = f"{TOYS}:data"


def decisions(site: NeoSite, *words: str) -> dict[str, tuple[str, str]]:
    said = site.neo("plan", DATA, "--json", *words)
    assert said.code == 0, said
    return {step["name"]: (step["action"], step["reason"]) for step in said.json["steps"]}


def test_a_plan_of_an_empty_store_makes_all_and_writes_nothing(site: NeoSite) -> None:
    plan = decisions(site)
    assert plan == dict.fromkeys(["pairs", "kept", "mix", "rows"], ("make", "never made"))
    assert not list((site.folder / "store").rglob("*"))


def test_what_is_committed_is_reused(site: NeoSite) -> None:
    assert site.neo("run", DATA).code == 0
    assert {action for action, _ in decisions(site).values()} == {"reuse"}


def test_a_changed_field_is_named_and_remakes_what_follows_alone(site: NeoSite) -> None:
    site.neo("run", DATA)
    said = site.neo("plan", DATA, "--set", "kept.min_width_px=16", "--json")
    steps = {step["name"]: step for step in said.json["steps"]}
    assert [step["action"] for step in steps.values()] == ["reuse", "make", "make", "make"]
    assert steps["kept"]["changes"] == [{"field": "min_width_px", "before": "13", "after": "16"}]
    assert steps["mix"]["reason"] == "reads kept, which is made again"
    assert "min_width_px: 13 -> 16" in site.neo("plan", DATA, "--set", "kept.min_width_px=16").out


def test_a_raised_limit_makes_nothing_again_but_is_another_run(site: NeoSite) -> None:
    plain, raised = (), ("--set", "pairs.max_share_lost=0.9")
    runs = {words: site.neo("plan", DATA, "--json", *words).json["run"] for words in (plain, raised)}
    assert runs[plain] != runs[raised]  # a submission reads the limit from its run's frozen plan
    site.neo("run", DATA, *raised)
    assert {action for action, _ in decisions(site).values()} == {"reuse"}
    said = site.neo("plan", DATA, "--set", "pairs.num_urls=10", "--json")
    assert [change["field"] for change in said.json["steps"][0]["changes"]] == ["num_urls"]


def test_other_hardware_gives_the_same_fingerprints(site: NeoSite, tmp_path: Path) -> None:
    here = site.neo("plan", DATA, "--json").json
    site.file.write_text(site.file.read_text() + "[gang]\nnum_ranks = 16\ngpus = 1\n[parts]\ncpus = 4\n")
    there = site.neo("plan", DATA, "--json").json
    assert [step["fingerprint"] for step in here["steps"]] == [step["fingerprint"] for step in there["steps"]]
    assert here["run"] == there["run"]


def test_half_a_phase_is_continued(site: NeoSite) -> None:
    site.neo("run", DATA)
    folder = site.artifact_folder("pairs")
    (folder / "manifest.json").unlink()
    (folder / "records" / "fetch" / "00001.json").unlink()
    plan = decisions(site)
    assert plan["pairs"] == ("continue", "fetch 2 of 3 parts recorded")
    assert plan["kept"] == ("make", "pairs, which is made again; reused if its content is the same")


def test_a_missing_artifact_is_said_to_be_missing(site: NeoSite) -> None:
    site.neo("run", DATA)
    folder = site.artifact_folder("kept")
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert decisions(site)["kept"] == ("make", f"its manifest is missing from {site.store.url}")


def test_a_child_whose_input_holds_other_content_is_not_reused(site: NeoSite) -> None:
    site.neo("run", DATA)
    path = site.artifact_folder("pairs") / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"content": "0" * 64}))
    action, reason = decisions(site)["kept"]
    assert action == "make" and "holds other content than it was made of" in reason
    assert site.neo("run", DATA).code == 0
    assert {action for action, _ in decisions(site).values()} == {"reuse"}


def test_until_leaves_out_what_comes_after(site: NeoSite) -> None:
    assert list(decisions(site, "--until", "kept")) == ["pairs", "kept"]


def test_only_needs_what_it_reads(site: NeoSite) -> None:
    refused = site.neo("plan", DATA, "--only", "kept", "--set", "kept.min_width_px=16")
    assert refused.code == 3 and "it reads pairs, not committed" in refused.err
    assert refused.last_line == f"Next: neo run {DATA} --set kept.min_width_px=16 --until kept --site {site.file}"
    site.neo("run", DATA, "--until", "pairs")
    assert decisions(site, "--only", "kept")["kept"] == ("make", "never made")


def test_only_refuses_an_outdated_input_and_makes_that_step_alone(site: NeoSite) -> None:
    site.neo("run", DATA)
    path = site.artifact_folder("pairs") / "manifest.json"
    committed = path.read_text()
    path.write_text(json.dumps(json.loads(committed) | {"content": "0" * 64}))
    refused = site.neo("run", DATA, "--only", "mix")
    assert refused.code == 3 and "--only mix: it reads outdated: kept (" in refused.err, refused
    assert refused.last_line == f"Next: neo run {DATA} --until mix --site {site.file}"
    path.write_text(committed)
    assert site.neo("run", DATA, "--only", "rows", "--set", "rows.pairs_per_row=3").code == 0
    assert decisions(site)["mix"] == ("reuse", "committed")


def test_the_next_command_uses_what_was_used(site: NeoSite) -> None:
    site.neo("run", DATA)
    kept = site.neo("show", "data/kept", "--json").json["fingerprint"]
    told = site.neo("plan", DATA, "--use", f"kept={kept[:8]}", "--set", "mix.num_repetitions=2")
    assert told.last_line.endswith(f"--set mix.num_repetitions=2 --use kept={kept[:12]} --site {site.file}"), (
        told.last_line
    )


def test_use_binds_a_committed_artifact_and_names_what_follows_after_it(site: NeoSite) -> None:
    site.neo("run", DATA, "--set", "kept.min_width_px=16")
    kept = site.neo("show", "data/kept", "--json").json["fingerprint"]
    plan = site.neo("plan", DATA, "--use", f"kept={kept[:8]}", "--json").json
    steps = {step["name"]: step for step in plan["steps"]}
    assert list(steps) == ["kept", "mix", "rows"]
    assert steps["kept"]["fingerprint"] == kept
    assert {step["action"] for step in steps.values()} == {"reuse"}
    wrong = site.neo("plan", DATA, "--use", f"mix={kept[:8]}")
    assert wrong.code == 2 and "the step makes Draw" in wrong.err


@stage(number=1, recipe=JudgeRecipe, makes=KeptPairs, conduct_inputs=("examined",))
def train_and_examine(recipe: JudgeRecipe, raw: RawPairs, examined: RawPairs | None, *, ctx: StageContext) -> None: ...


def examined_pipeline(num_urls: int) -> Pipeline:
    raw, examined = (
        fetch_toys.bind(name, FetchRecipe(num_urls=num)) for name, num in (("raw", 5), ("examined", num_urls))
    )
    return Pipeline("examined", "examined", (train_and_examine.bind("kept", JudgeRecipe(), raw, examined),))


def test_another_input_that_is_conduct_is_another_run_of_the_same_artifact(site: NeoSite) -> None:
    one, other = (freeze(examined_pipeline(num_urls), site.store, Selection()) for num_urls in (6, 7))
    assert one.step("kept").fingerprint == other.step("kept").fingerprint
    assert one.step("kept").conduct_inputs == ("examined",)
    assert one.run != other.run
    assert list(one.step("kept").identity_inputs) == ["raw"]


def test_what_was_begun_when_every_input_was_identity_keeps_its_name(site: NeoSite) -> None:
    step = examined_pipeline(6).steps["kept"]
    inputs = {name: made.fingerprint for name, made in step.edges.items()}
    before = step.stage.fingerprint(step.recipe, inputs, all_inputs=True)
    site.store.create_json(f"artifacts/train_and_examine/{before[:12]}/inputs.json", {})
    frozen = freeze(examined_pipeline(6), site.store, Selection())
    assert (frozen.step("kept").fingerprint, frozen.step("kept").conduct_inputs) == (before, ())
    decided = decide(frozen, site.store)
    check_plan_matches_code(decided)
    assert freeze(examined_pipeline(7), site.store, Selection()).step("kept").fingerprint == step.fingerprint


def renumbered(stage: Stage, number: int, accepts: tuple[int, ...] = ()) -> Stage:
    return Stage(stage.function, number, stage.recipe_type, stage.makes, stage.slots, accepts)


def test_an_accepted_older_number_keeps_the_whole_chain(site: NeoSite) -> None:
    site.neo("run", DATA, "--until", "kept")

    def plan(number: int, accepts: tuple[int, ...]) -> dict[str, tuple[str, str]]:
        from pipelines.planning.catalog import find_pipeline

        old = find_pipeline(DATA)
        raw = renumbered(old.steps["pairs"].stage, number, accepts).bind("pairs", old.steps["pairs"].recipe)
        pipeline = Pipeline("data", DATA, (judge_toys.bind("kept", JudgeRecipe(), raw),))
        found = decide(freeze(pipeline, site.store, Selection()), site.store)
        return {decision.step: (decision.action, decision.reason) for decision in found.decisions}

    assert {action for action, _ in plan(2, accepts=(1,)).values()} == {"reuse"}
    assert plan(2, accepts=())["pairs"] == ("make", "stage fetch_toys changed: number 1 -> 2")


def test_a_frozen_plan_goes_back_to_the_same_stages_and_recipes(site: NeoSite) -> None:
    llm = toy_llm.bind("llm", LlmRecipe(width=9))
    pipeline = Pipeline("p", "p", (llm,))
    request = freeze(pipeline, site.store, Selection())
    again = type(request).model_validate_json(request.model_dump_json())
    assert again == request and again.run == request.run
    assert again.load_step("llm") == (toy_llm, LlmRecipe(width=9))


def test_a_recipe_that_json_does_not_carry_is_refused(site: NeoSite) -> None:
    class Odd(LlmRecipe):
        inner: LlmRecipe = LlmRecipe()

    class Wider(LlmRecipe):
        extra: int = 1

    odd = Stage(toy_llm.function, 1, Odd, toy_llm.makes, ())
    step = odd.bind("odd", Odd(inner=Wider(extra=2)))
    with pytest.raises(BadCommandError, match="does not survive being written as JSON"):
        freeze(Pipeline("p", "p", (step,)), site.store, Selection())


def test_the_graph_is_drawn_with_every_edge(site: NeoSite) -> None:
    said = site.neo("plan", f"{TOYS}:whole", "--graph")
    assert "●─╯  weights" in said.out
    assert said.last_line == f"Next: neo run {TOYS}:whole --site {site.file}"


def test_a_gangs_progress_is_its_last_checkpoint(site: NeoSite) -> None:
    llm = toy_llm.bind("llm", LlmRecipe())
    step = train_toy.bind("weights", TrainRecipe(), [], llm)
    folder = f"artifacts/train_toy/{step.fingerprint[:12]}"
    for number, at_step in enumerate((2, 4)):
        record = {"phase": "steps", "part": f"{number:06d}", "facts": {"step": at_step}}
        site.store.create_json(f"{folder}/records/steps/{number:06d}.json", record)
    plan = decide(freeze(Pipeline("p", "p", (step,)), site.store, Selection()), site.store)
    assert plan.decision("weights").action == "continue"
    assert plan.decision("weights").at_step == 4
