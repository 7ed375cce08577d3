"""Small stages for the tests of the backend: they count, wait, fail and die on demand, and keep a diary of it.

The diary is a folder outside the store, one for each step: a file for each thing that happened, so that a test can
tell what was done how often, by whom, and what was never begun.
"""

import os
import signal
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from stages.artifacts.artifact import Artifact
from stages.contract import InterruptedRunError, ItemBalance, Part, PartDraft, Rank, Recipe, StageContext, stage


class Numbers(Artifact):
    """Parts hold `numbers.txt`, one number a line."""


class CountRecipe(Recipe):
    diary: str
    num_parts: int = 2
    part_seconds: float = 0.0
    failing_part: str = ""
    """Fails once part 000 has begun."""
    deadly_part: str = ""
    num_deaths: int = 1


class SumRecipe(Recipe):
    diary: str


class TrainRecipe(Recipe):
    diary: str
    num_steps: int = 6
    step_seconds: float = 0.0
    deadly_steps: tuple[int, ...] = ()
    """Steps at which rank 1 is killed."""
    num_deaths: int = 1
    """How often it is killed at each."""
    failing_step: int = 0


def write_down(diary: str, what: str) -> None:
    """Note that something happened, in a file of its own; its content is the process."""
    Path(diary).mkdir(parents=True, exist_ok=True)
    (Path(diary) / f"{what}.{time.monotonic_ns()}").write_text(str(os.getpid()))


def times(diary: Path, what: str) -> int:
    """How often it happened."""
    return len(list(diary.glob(f"{what}.*")))


def wait_for(diary: Path, what: str) -> None:
    """Wait until it has happened, for a minute at most."""
    deadline_seconds = time.monotonic() + 60
    while not times(diary, what) and time.monotonic() < deadline_seconds:
        time.sleep(0.02)


def count_part(part: Part, draft: PartDraft, recipe: CountRecipe) -> None:
    write_down(recipe.diary, f"begun-{part.name}")
    if part.name == recipe.deadly_part and times(Path(recipe.diary), f"begun-{part.name}") <= recipe.num_deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    if part.name == recipe.failing_part:
        wait_for(Path(recipe.diary), "begun-000")
        raise ValueError(f"cannot count {part.task['first']}")
    time.sleep(recipe.part_seconds)
    draft.progress(3)
    draft.path("numbers.txt").write_text("\n".join(str(part.task["first"] + offset) for offset in range(3)))
    draft.count(ItemBalance(kept=3))
    write_down(recipe.diary, f"done-{part.name}")


@stage(number=1, recipe=CountRecipe, makes=Numbers)
def count(recipe: CountRecipe, *, ctx: StageContext) -> None:
    parts = [Part(name=f"{index:03d}", task={"first": 10 * index}, num_items=3) for index in range(recipe.num_parts)]
    ctx.spread(partial(count_part, recipe=recipe), over=parts, phase="write")


@stage(number=1, recipe=CountRecipe, makes=Numbers)
def deadly(recipe: CountRecipe, *, ctx: StageContext) -> None:
    """Make the parts, then end the process that waits for them, before anything is committed."""
    write_down(recipe.diary, "begun-step")
    parts = [Part(name="000", task={"first": 0})]
    ctx.spread(partial(count_part, recipe=recipe), over=parts, phase="write")
    if times(Path(recipe.diary), "begun-step") <= recipe.num_deaths:
        os.kill(os.getpid(), signal.SIGKILL)


def add_up_part(part: Part, draft: PartDraft, left: Numbers, right: Numbers, recipe: SumRecipe) -> None:
    write_down(recipe.diary, "added")
    numbers = [int(line) for source in (left, right) for line in lines_of(source)]
    draft.path("numbers.txt").write_text(str(sum(numbers)))
    draft.count(ItemBalance(kept=1))


@stage(number=1, recipe=SumRecipe, makes=Numbers)
def add_up(recipe: SumRecipe, left: Numbers, right: Numbers, *, ctx: StageContext) -> None:
    ctx.report({"num_lines": float(len(lines_of(left)) + len(lines_of(right)))})
    ctx.spread(partial(add_up_part, left=left, right=right, recipe=recipe), over=[Part(name="sum")], phase="add")


def lines_of(numbers: Numbers) -> list[str]:
    return [line for part in numbers.parts for line in numbers.read(part.file("numbers.txt")).decode().splitlines()]


def commit_together(rank: Rank, folder: Path, step: int, facts: Mapping[str, Any]) -> None:
    """Commit what all ranks hold under their `folder`; returns on each once that is so. Collective."""
    import torch.distributed as dist

    files: list[Any] = [None] * rank.world_size
    dist.all_gather_object(files, rank.checkpoints.upload(folder, step))
    if rank.rank == 0:
        rank.checkpoints.commit([entry for held in files for entry in held], step, facts)
    dist.barrier()


def first_of(value: bool) -> bool:
    """What rank 0 says, on every rank. Collective."""
    import torch.distributed as dist

    said = [value]
    dist.broadcast_object_list(said, src=0)
    return said[0]


def train_rank(rank: Rank, recipe: TrainRecipe) -> None:
    """Each rank counts steps, adds up the ranks at each, and commits its sum at every second step."""
    import torch
    import torch.distributed as dist

    latest = rank.checkpoints.latest()
    step, total = (0, 0) if latest is None else (latest.facts["step"], latest.facts["total"])
    write_down(recipe.diary, f"rank{rank.rank}-from-step{step}")
    while step < recipe.num_steps:
        step += 1
        is_deadly = step in recipe.deadly_steps and times(Path(recipe.diary), f"killed-{step}") < recipe.num_deaths
        if is_deadly and rank.rank == 1:
            write_down(recipe.diary, f"killed-{step}")
            os.kill(os.getpid(), signal.SIGKILL)
        if step == recipe.failing_step and rank.rank == 1:
            raise ValueError(f"nonfinite loss at step {step}")
        time.sleep(recipe.step_seconds)
        added = torch.tensor([rank.rank + 1])
        dist.all_reduce(added)
        total += int(added.item())
        rank.report({"total": float(total)}, at_step=step)
        stop = first_of(rank.should_stop())
        if step % 2 == 0 or stop:
            folder = rank.scratch / f"step-{step}"
            folder.mkdir()
            (folder / f"rank{rank.rank}.txt").write_text(f"{step} {total} {torch.get_num_threads()} {rank.device}")
            commit_together(rank, folder, step, {"total": total})
        if stop:
            raise InterruptedRunError(f"stopped after step {step}")


@stage(number=1, recipe=TrainRecipe, makes=Numbers)
def train(recipe: TrainRecipe, *, ctx: StageContext) -> None:
    ctx.gang(partial(train_rank, recipe=recipe))
