"""A model that learned from pairs of the web: tables with sizes of pictures and with opt-outs, and hostile names."""

from functools import partial

import pyarrow as pa

from stages.artifacts.kinds import CARD_FILE, MODEL_PREFIX, SAMPLES_FILE, Checkpoint, ExportedCheckpoint, RawPairs
from stages.contract import Part, PartDraft, Recipe, StageContext, stage
from stages.formats.sample_table import balance_of, write_table
from tests.worlds.listed_pairs import ListedPairsRecipe, table_of

CARD = "---\nlicense: mit\n---\n# A card of [more](https://example.org) than one line\n"


class WebRecipe(ListedPairsRecipe):
    opt_outs: tuple[str, ...] = ("x_robots_tag",)
    robots: str = "respect"
    note: str = "<script>alert(1)</script>"


class WeightsRecipe(Recipe):
    seed: int = 0


def web_table(recipe: ListedPairsRecipe, first_row: int) -> pa.Table:
    """The sample table of the part that begins with a row: what was not kept had been opted out."""
    rows = table_of(recipe, first_row)
    kept = [verdict == "kept" for verdict in rows["verdict"].to_pylist()]
    columns = {name: rows[name] for name in rows.column_names}
    columns["verdict"] = pa.array(["kept" if one else "dropped" for one in kept])
    columns["reason"] = pa.array([None if one else "opt_out" for one in kept], pa.string())
    sizes = [1000 + 13 * (first_row + number) if one else None for number, one in enumerate(kept)]
    return pa.table({**columns, "image_size_bytes": pa.array(sizes, pa.int64())})


def fetch_part(part: Part, draft: PartDraft, recipe: ListedPairsRecipe) -> None:
    table = web_table(recipe, part.task["first_row"])
    write_table(table, draft.path(SAMPLES_FILE))
    draft.count(balance_of(table))
    if isinstance(recipe, WebRecipe):
        draft.annotate(num_asked=table.num_rows)


def learn_part(part: Part, draft: PartDraft, recipe: WeightsRecipe) -> None:
    draft.path(MODEL_PREFIX + "config.json").write_text("{}")


def web_parts(recipe: ListedPairsRecipe) -> list[Part]:
    """A part for each stretch of the rows."""
    starts = range(0, recipe.num_pairs, recipe.num_rows_per_part)
    return [Part(name=f"{number:05d}", task={"first_row": first}) for number, first in enumerate(starts)]


@stage(number=1, recipe=WebRecipe, makes=RawPairs)
def fetch_web(recipe: WebRecipe, *, ctx: StageContext) -> None:
    ctx.spread(partial(fetch_part, recipe=recipe), over=web_parts(recipe), phase="download")


@stage(number=1, recipe=WeightsRecipe, makes=Checkpoint)
def learn_web(recipe: WeightsRecipe, pairs: RawPairs, *, ctx: StageContext) -> None:
    ctx.spread(partial(learn_part, recipe=recipe), over=[Part(name="00000")], phase="learn")


@stage(number=1, recipe=ListedPairsRecipe, makes=RawPairs)
def read_web(recipe: ListedPairsRecipe, *, ctx: StageContext) -> None:
    """The same pairs, as if others had fetched them."""
    ctx.spread(partial(fetch_part, recipe=recipe), over=web_parts(recipe), phase="import")


@stage(number=1, recipe=WeightsRecipe, makes=Checkpoint)
def learn_both(recipe: WeightsRecipe, pairs: RawPairs, further: RawPairs, *, ctx: StageContext) -> None:
    ctx.spread(partial(learn_part, recipe=recipe), over=[Part(name="00000")], phase="learn")


def write_card(part: Part, draft: PartDraft) -> None:
    draft.path(MODEL_PREFIX + CARD_FILE).write_text(CARD)


@stage(number=1, recipe=WeightsRecipe, makes=ExportedCheckpoint)
def tell_card(recipe: WeightsRecipe, *, ctx: StageContext) -> None:
    """An export that is nothing but its card."""
    ctx.spread(write_card, over=[Part(name="00000")], phase="export")


def imported():
    """A model of pairs that no step of its lineage fetched."""
    return learn_web.bind("weights", WeightsRecipe(), read_web.bind("pairs", ListedPairsRecipe()))


def web():
    """The pipeline, as `neo run FILE:web` takes it."""
    return learn_web.bind("weights", WeightsRecipe(), fetch_web.bind("pairs", WebRecipe()))
