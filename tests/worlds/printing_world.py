"""Small stages that print in every way: by Python, a logger, a warning, the C library and a child process."""

import ctypes
import logging
import subprocess
import sys
import warnings
from functools import partial

from stages.contract import ItemBalance, Part, PartDraft, Rank, Recipe, StageContext, stage
from tests.worlds.cluster_world import Numbers, commit_together


class PrintRecipe(Recipe):
    failing_part: str = ""


def print_in_every_way(who: str) -> None:
    print(f"print of {who}")
    print(f"stderr of {who}", file=sys.stderr)
    logging.getLogger("toy").warning("logged by %s", who)
    warnings.warn(f"warned by {who}", stacklevel=1)
    ctypes.CDLL(None).puts(f"C library of {who}".encode())
    subprocess.run(["echo", f"child of {who}"], check=True)


def print_part(part: Part, draft: PartDraft, recipe: PrintRecipe) -> None:
    if part.name != "quiet":
        print_in_every_way(part.name)
    if part.name == recipe.failing_part:
        raise ValueError("cannot do this part")
    draft.path("numbers.txt").write_text("1")
    draft.count(ItemBalance(kept=1))


@stage(number=1, recipe=PrintRecipe, makes=Numbers)
def print_parts(recipe: PrintRecipe, *, ctx: StageContext) -> None:
    print("before the parts")
    ctx.spread(partial(print_part, recipe=recipe), over=[Part(name="loud"), Part(name="quiet")], phase="write")


def print_rank(rank: Rank) -> None:
    print_in_every_way(f"rank {rank.rank}")
    folder = rank.scratch / "checkpoint"
    folder.mkdir()
    (folder / f"{rank.rank}.txt").write_text("1")
    commit_together(rank, folder, 1, {})


@stage(number=1, recipe=PrintRecipe, makes=Numbers)
def print_ranks(recipe: PrintRecipe, *, ctx: StageContext) -> None:
    ctx.gang(print_rank)
