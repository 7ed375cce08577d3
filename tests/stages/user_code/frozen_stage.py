"""A stage whose code digest is written down in `test_digest.py`: it is to be the same under every release of Python."""

import json
from functools import partial

from stages.artifacts.kinds import KeptPairs
from stages.contract import Part, PartDraft, Recipe, StageContext, stage

SIZES_PX: tuple[int, ...] = (64, 1_024)


class LoadRecipe(Recipe):
    """What is loaded."""

    word: str = "neo"
    """A word."""
    share: float | None = None
    """A share."""


def judge(text: str, *more: str, strict: bool = False, **rest: object) -> list[str]:
    """Judge it."""
    match text:
        case "" | None:
            return []
        case _ if (length := len(text)) > 3 and not strict:
            return [f"{text!r:>10} {length + 1:03d}", *more]
    try:
        return [word for word in more if word] or sorted(more, key=lambda word: -len(word))
    except (KeyError, ValueError) as error:
        raise RuntimeError(b"bytes", 1e3, 2j, ...) from error


def load_part(part: Part, draft: PartDraft, recipe: LoadRecipe) -> None:
    with draft.path("words.json").open("w") as file:
        json.dump({size: judge(recipe.word) for size in SIZES_PX}, file)


@stage(number=1, recipe=LoadRecipe, makes=KeptPairs)
def load(recipe: LoadRecipe, *, ctx: StageContext) -> None:
    ctx.spread(partial(load_part, recipe=recipe), over=[Part(name="all")], phase="load")
