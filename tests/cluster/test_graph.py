"""Runs of toy stages on a real Ray: side by side, failing, stopped, and killed."""

import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cluster.backend import StepOutcome
from cluster.graph import StepGraph, run_graph
from cluster.site import PartResources, Resources, Site
from stages.artifact import open_artifact
from stages.contract import Event
from stages.order import StepOrder
from stages.step import Step
from stages.store import Store
from tests.cluster.toy_stages import CountRecipe, Numbers, SumRecipe, TrainRecipe, add_up, count, lines_of, times, train


class Run:
    """One attempt at a pipeline that ends in `last`, over a store of the test's own."""

    def __init__(self, site: Site, folder: Path, last: Sequence[Step[Numbers]], attempt: int = 1) -> None:
        self.site = site
        self.store = Store(folder / "store")
        self.steps = {step.name: step for end in last for step in end.walk()}
        self.events: list[Event] = []
        self.stop = threading.Event()
        self.attempt = f"run-{attempt}"

    def orders(self) -> dict[str, StepOrder]:
        return {
            name: StepOrder(
                step=name,
                stage=step.stage,
                recipe=step.recipe,
                fingerprint=step.fingerprint,
                inputs={slot: (made.stage.name, made.fingerprint) for slot, made in step.edges.items()},
                store=self.store,
                run="run",
                attempt=self.attempt,
            )
            for name, step in self.steps.items()
        }

    def edges(self) -> dict[str, list[str]]:
        return {name: [made.name for made in step.edges.values()] for name, step in self.steps.items()}

    def carry_out(self, watch: Callable[[Event], None] = lambda event: None) -> dict[str, StepOutcome]:
        def on_event(event: Event) -> None:
            self.events.append(event)
            watch(event)

        return run_graph(self.orders(), self.edges(), self.site, on_event, self.stop)

    def made(self, step: str) -> Numbers:
        return open_artifact(self.store, self.steps[step].stage.name, self.steps[step].fingerprint, Numbers)

    def ended(self) -> dict[str, str]:
        return {event.step: event.outcome for event in self.events if event.event == "ended"}


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
    graph = StepGraph(run.orders(), run.edges(), plain_site)
    expected = {(read, reader) for reader, reads in run.edges().items() for read in reads}
    assert graph.edges() == expected
    assert len(expected) == 5
    drawing = graph.drawing()
    assert set(re.findall(r'"(\w+)" -> "(\w+)"', drawing)) == expected
    assert all(step.fingerprint[:12] in drawing for step in run.steps.values())


def test_a_circle_is_refused_by_name(tmp_path: Path, diary: Path, plain_site: Site) -> None:
    run = Run(plain_site, tmp_path, [diamond(diary)])
    with pytest.raises(ValueError, match="in a circle: .*root.*top"):
        StepGraph(run.orders(), {**run.edges(), "root": ["top"]}, plain_site)


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
    making = run.orders()["other"].making
    assert making.record("write", "000") is not None
    assert making.record("write", "001") is None
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


def test_parts_under_way_stay_within_the_sites_bound(tmp_path: Path, diary: Path, ray_site: Site) -> None:
    bound = Resources(parts=PartResources(cpus=0.1, max_parallel=2))
    site = ray_site.model_copy(update={"stages": {"count": bound}})
    step = count.bind("slow", CountRecipe(diary=str(diary), num_parts=6, part_seconds=0.3))
    assert Run(site, tmp_path, [step]).carry_out()["slow"].ending == "committed"
    moments = [(int(path.suffix[1:]), 1 if path.name.startswith("begun") else -1) for path in diary.iterdir()]
    under_way = [sum(change for _, change in sorted(moments)[:count]) for count in range(1, len(moments) + 1)]
    assert max(under_way) == 2


def test_a_rank_that_is_killed_is_replaced_and_the_gang_continues_from_its_checkpoint(
    tmp_path: Path, diary: Path, ray_site: Site
) -> None:
    run = Run(ray_site, tmp_path, [train.bind("train", TrainRecipe(diary=str(diary), deadly_step=5))])
    outcome = run.carry_out()["train"]
    assert outcome.ending == "committed", outcome.details
    (last,) = run.made("train").parts
    assert last.facts == {"step": 6, "total": 18}
    assert run.made("train").read(last.file("rank1.txt")) == b"6 18 1 cpu"
    assert [times(diary, f"rank1-from-step{step}") for step in (0, 4)] == [1, 1]
    assert [event.at_step for event in run.events if event.event == "checkpoint"] == [2, 4, 6]


def test_the_failure_of_one_rank_is_named_and_not_tried_again(tmp_path: Path, diary: Path, ray_site: Site) -> None:
    run = Run(ray_site, tmp_path, [train.bind("train", TrainRecipe(diary=str(diary), failing_step=3))])
    outcome = run.carry_out()["train"]
    assert outcome.ending == "failed"
    assert outcome.reason == "step 'train': rank 1 of 2 failed: ValueError: nonfinite loss at step 3"
    assert times(diary, "rank0-from-*") == 1


def test_a_stop_reaches_all_ranks_at_one_step(tmp_path: Path, diary: Path, ray_site: Site) -> None:
    recipe = TrainRecipe(diary=str(diary), num_steps=1000, step_seconds=0.05)
    run = Run(ray_site, tmp_path, [train.bind("train", recipe)])
    started = time.monotonic()
    outcome = run.carry_out(lambda event: run.stop.set() if event.event == "checkpoint" else None)["train"]
    assert outcome.ending == "interrupted"
    match = re.fullmatch(r"stopped after step (\d+)", outcome.reason)
    assert match is not None, outcome.reason
    latest = run.orders()["train"].making.latest_checkpoint()
    assert latest is not None
    assert latest.facts["step"] == int(match[1]) < 1000
    assert time.monotonic() - started < 60
