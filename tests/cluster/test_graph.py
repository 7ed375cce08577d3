"""Runs of toy stages on a real Ray: side by side, failing, stopped, and killed."""

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from cluster.graph import StepGraph
from cluster.site import PartResources, Resources, Site
from stages.artifacts.artifact import open_artifact
from stages.commit.phase_records import read_record
from stages.contract import USER_FILE_PREFIX, Step
from tests.cluster.toy_run import ToyRun as Run
from tests.worlds.cluster_world import (
    CountRecipe,
    Numbers,
    SumRecipe,
    TrainRecipe,
    add_up,
    count,
    deadly,
    lines_of,
    times,
    train,
)


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    return tmp_path / "diary"


def diamond(diary: Path, **changes: object) -> Step[Numbers]:
    """A root, two branches that add it to another, and the sum of both."""
    root = count.bind("root", CountRecipe(diary=str(diary / "root")))
    other = count.bind("other", CountRecipe(diary=str(diary / "other"), num_parts=3, **changes))
    left = add_up.bind("left", SumRecipe(diary=str(diary)), root, root)
    right = add_up.bind("right", SumRecipe(diary=str(diary)), root, other)
    return add_up.bind("top", SumRecipe(diary=str(diary)), left, right)


def test_the_edges_of_rays_graph_are_the_plans(tmp_path: Path, diary: Path, plain_site: Site) -> None:
    run = Run(plain_site, tmp_path, [diamond(diary)])
    graph = StepGraph(run.specs(), run.edges(), plain_site)
    expected = {(read, reader) for reader, reads in run.edges().items() for read in reads}
    assert graph.edges() == expected
    assert len(expected) == 5
    drawing = graph.drawing()
    assert set(re.findall(r'"(\w+)" -> "(\w+)"', drawing)) == expected
    assert all(step.fingerprint[:12] in drawing for step in run.steps.values())


def test_a_circle_is_refused_by_name(tmp_path: Path, diary: Path, plain_site: Site) -> None:
    run = Run(plain_site, tmp_path, [diamond(diary)])
    with pytest.raises(ValueError, match="in a circle: .*root.*top"):
        StepGraph(run.specs(), {**run.edges(), "root": ["top"]}, plain_site)


def test_a_diamond_is_made_once_and_then_reused(tmp_path: Path, diary: Path, ray_site: Site) -> None:
    run = Run(ray_site, tmp_path, [diamond(diary)])
    outcomes = run.carry_out()
    assert {name: outcome.ending for name, outcome in outcomes.items()} == dict.fromkeys(run.steps, "committed")
    assert {name: outcome.fingerprint for name, outcome in outcomes.items()} == {
        name: step.fingerprint for name, step in run.steps.items()
    }
    left, right = 2 * (0 + 1 + 2 + 10 + 11 + 12), 36 + (0 + 1 + 2 + 10 + 11 + 12 + 20 + 21 + 22)
    assert lines_of(run.made("top")) == [str(left + right)]
    assert run.ended() == dict.fromkeys(run.steps, "committed")
    assert [part.part for part in run.made("other").parts] == ["000", "001", "002"]
    recorded = [event for event in run.events if event.event == "part" and event.step == "other"]
    assert sum(event.items.kept for event in recorded) == 9
    assert [event.numbers for event in run.events if event.event == "numbers" and event.step == "left"] == [
        {"num_lines": 12.0}
    ]
    again = Run(ray_site, tmp_path, [diamond(diary)], attempt=2)
    assert {outcome.ending for outcome in again.carry_out().values()} == {"reused"}
    assert [times(diary / name, "begun-*") for name in ("root", "other")] == [2, 3]
    assert times(diary, "added") == 3


def test_when_a_part_fails_other_parts_and_branches_end_and_what_reads_it_does_not_begin(
    tmp_path: Path, diary: Path, ray_site: Site
) -> None:
    run = Run(ray_site, tmp_path, [diamond(diary, failing_part="001")])
    outcomes = run.carry_out()
    assert {name: outcome.ending for name, outcome in outcomes.items()} == {
        "root": "committed",
        "left": "committed",
        "other": "failed",
        "right": "not_started",
        "top": "not_started",
    }
    assert outcomes["other"].reason == "step 'other': part write/001 failed: ValueError: cannot count 10"
    assert "in count_part" in outcomes["other"].details
    assert outcomes["right"].reason == "it reads 'other', which is not committed"
    assert run.ended()["other"] == "failed"
    writer = run.specs()["other"].writer
    assert read_record(writer.store, writer.record_key("write", "000")) is not None
    assert read_record(writer.store, writer.record_key("write", "001")) is None
    assert times(diary / "other", "begun-001") == 1


def test_a_part_whose_worker_dies_is_made_by_another(tmp_path: Path, diary: Path, ray_site: Site) -> None:
    run = Run(ray_site, tmp_path, [diamond(diary, deadly_part="002", num_deaths=2)])
    outcomes = run.carry_out()
    assert {outcome.ending for outcome in outcomes.values()} == {"committed"}
    assert times(diary / "other", "begun-002") == 3
    assert lines_of(run.made("other")) == ["0", "1", "2", "10", "11", "12", "20", "21", "22"]


def test_a_part_that_always_ends_its_worker_fails_by_name(tmp_path: Path, diary: Path, ray_site: Site) -> None:
    step = count.bind("other", CountRecipe(diary=str(diary), deadly_part="000", num_deaths=99))
    outcome = Run(ray_site, tmp_path, [step]).carry_out()["other"]
    assert outcome.ending == "failed"
    assert "part write/000 ended its worker 4 times" in outcome.reason
    assert "memory_bytes" in outcome.reason


def test_a_stop_lets_parts_under_way_end_and_begins_no_more(tmp_path: Path, diary: Path, ray_site: Site) -> None:
    def pipeline() -> list[Step[Numbers]]:
        slow = count.bind("slow", CountRecipe(diary=str(diary), num_parts=12, part_seconds=0.4))
        return [add_up.bind("sum", SumRecipe(diary=str(diary)), slow, slow)]

    run = Run(ray_site, tmp_path, pipeline())
    outcomes = run.carry_out(lambda event: run.stop.set() if event.event == "part" else None)
    assert (outcomes["slow"].ending, outcomes["sum"].ending) == ("interrupted", "not_started")
    assert re.search(r"stopped with \d+ of 12 parts of phase 'write' to go", outcomes["slow"].reason)
    assert run.ended() == {"slow": "interrupted"}
    num_done = times(diary, "done-*")
    assert 1 <= num_done < 12
    assert num_done == times(diary, "begun-*"), "a part that had begun was not waited for"

    again = Run(ray_site, tmp_path, pipeline(), attempt=2)
    assert {outcome.ending for outcome in again.carry_out().values()} == {"committed"}
    assert times(diary, "begun-*") == 12
    opened = next(event for event in again.events if event.event == "phase" and event.step == "slow")
    assert (opened.num_recorded, opened.num_parts) == (num_done, 12)


def test_a_step_whose_own_process_dies_is_taken_up_by_another(tmp_path: Path, diary: Path, ray_site: Site) -> None:
    step = deadly.bind("deadly", CountRecipe(diary=str(diary), num_deaths=1))
    run = Run(ray_site, tmp_path, [step])
    assert run.carry_out()["deadly"].ending == "committed"
    assert (times(diary, "begun-step"), times(diary, "begun-000")) == (2, 1)
    hopeless = deadly.bind("deadly", CountRecipe(diary=str(diary / "hopeless"), num_deaths=99))
    outcome = Run(ray_site, tmp_path, [hopeless]).carry_out()["deadly"]
    assert outcome.ending == "failed"
    assert re.match(r"step 'deadly', 4 times, failed: WorkerCrashedError", outcome.reason)


def test_a_stage_of_a_users_own_file_runs_where_that_file_is_not(tmp_path: Path, ray_site: Site) -> None:
    module = load_user_file(tmp_path)
    run = Run(ray_site, tmp_path, [module.shout.bind("shout", module.ShoutRecipe(word="neo"))])
    outcome = run.carry_out()["shout"]
    assert outcome.ending == "committed", outcome.details
    opened = open_artifact(run.store, "shout", outcome.fingerprint, module.Shouts)
    assert opened.read(opened.parts[0].file("word.txt")) == b"NEO!"


def load_user_file(folder: Path) -> Any:
    """A pipeline file of a user's own, loaded as the command line loads it; no other process can import it."""
    path = folder / "mine.py"
    path.write_text(USER_FILE)
    spec = importlib.util.spec_from_file_location(f"{USER_FILE_PREFIX}mine", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    path.unlink()
    return module


USER_FILE = '''
from functools import partial

from stages.artifacts.artifact import Artifact
from stages.contract import Part, Recipe
from stages.contract import stage


class Shouts(Artifact):
    """Parts hold `word.txt`."""


class ShoutRecipe(Recipe):
    word: str
    marks: str = "!"


def shout_part(part, draft, recipe):
    draft.path("word.txt").write_text(recipe.word.upper() + recipe.marks)


@stage(number=1, recipe=ShoutRecipe, makes=Shouts)
def shout(recipe: ShoutRecipe, *, ctx) -> None:
    ctx.spread(partial(shout_part, recipe=recipe), over=[Part(name="only")], phase="shout")
'''


def test_parts_under_way_stay_within_the_sites_bound(tmp_path: Path, diary: Path, ray_site: Site) -> None:
    bound = Resources(parts=PartResources(cpus=0.1, max_parallel=2))
    site = ray_site.model_copy(update={"stages": {"count": bound}})
    step = count.bind("slow", CountRecipe(diary=str(diary), num_parts=6, part_seconds=0.3))
    assert Run(site, tmp_path, [step]).carry_out()["slow"].ending == "committed"
    moments = [(int(path.suffix[1:]), 1 if path.name.startswith("begun") else -1) for path in diary.iterdir()]
    under_way = [sum(change for _, change in sorted(moments)[:count]) for count in range(1, len(moments) + 1)]
    assert max(under_way) <= 2


def test_a_killed_rank_is_replaced_from_the_last_checkpoint_and_a_failing_one_is_named(
    tmp_path: Path, diary: Path, ray_site: Site
) -> None:
    recipe = TrainRecipe(diary=str(diary), num_steps=8, deadly_steps=(5,), failing_step=7)
    run = Run(ray_site, tmp_path, [train.bind("train", recipe)])
    outcome = run.carry_out()["train"]
    assert outcome.ending == "failed"
    assert outcome.reason == "step 'train': rank 1 of 2 failed: ValueError: nonfinite loss at step 7"
    assert [times(diary, f"rank1-from-step{step}") for step in (0, 4, 6)] == [1, 1, 0]
    assert [event.at_step for event in run.events if event.event == "checkpoint"] == [2, 4, 6]
    latest = run.checkpoints("train").latest()
    assert latest is not None
    assert latest.facts == {"step": 6, "total": 18}
    assert run.store.read(latest.file("rank1.txt").key) == b"6 18 1 cpu"
