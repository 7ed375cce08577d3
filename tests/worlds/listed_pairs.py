"""Pairs without pictures on some domains, with repeated URLs and pictures, and failed rows: real tables."""

import hashlib
from datetime import date, datetime
from decimal import Decimal
from functools import partial

import pyarrow as pa

from stages.artifacts.kinds import COLUMNS_FILE, SAMPLES_FILE, VERDICTS_FILE, KeptPairs, RawPairs
from stages.contract import Part, PartDraft, Recipe, StageContext, stage
from stages.formats.sample_table import balance_of, read_table, sample_id_type, write_table


class ListedPairsRecipe(Recipe):
    num_pairs: int = 300
    num_rows_per_part: int = 50
    carries: bool = False
    """Whether the list has columns of the user's own, of types that JSON does not know."""
    named_by_digits: bool = False
    """Whether pictures have references too, which look like ids."""


def url_of(row: int) -> str:
    """Every tenth row repeats the URL of an earlier one."""
    row = row // 7 if row % 10 == 3 else row
    return f"https://img{row % 3}.shop{row % 17}.{('com', 'co.uk')[row % 2]}/{row}.jpg"


def caption_of(row: int) -> str:
    return f"A photo of the {('red', 'green', 'blue')[row % 3]} chair, number {row % 40}, near window {row % 11}."


def table_of(recipe: ListedPairsRecipe, first_row: int) -> pa.Table:
    """The sample table of the part that begins with a row."""
    numbers = range(first_row, min(first_row + recipe.num_rows_per_part, recipe.num_pairs))
    lost = [row % 5 == 4 for row in numbers]
    shared = [row // 9 if row % 10 == 6 else row for row in numbers]
    digests = [
        None if gone else hashlib.sha256(f"picture {row}".encode()).digest()
        for row, gone in zip(shared, lost, strict=True)
    ]
    carried = {
        "score": pa.array([float("nan")] * len(numbers)),
        "seen": pa.array([datetime(2026, 1, 2, 3, 4, 5)] * len(numbers)),
        "day": pa.array([date(2026, 1, 2)] * len(numbers)),
        "price": pa.array([Decimal("1.50")] * len(numbers)),
    }
    named = {"reference": pa.array([hashlib.md5(str(n).encode()).hexdigest() for n in numbers])}
    return pa.table(
        (carried if recipe.carries else {})
        | (named if recipe.named_by_digits else {})
        | {
            "sample_id": pa.array(
                [hashlib.sha256(f"row {n}".encode()).digest()[:16] for n in numbers], sample_id_type()
            ),
            "url": pa.array([url_of(n) for n in numbers]),
            "caption": pa.array([caption_of(n) for n in numbers]),
            "verdict": pa.array(["failed" if gone else "kept" for gone in lost]),
            "reason": pa.array(["not_found" if gone else None for gone in lost], pa.string()),
            "sha256": pa.array(digests, pa.binary(32)),
        }
    )


def list_part(part: Part, draft: PartDraft, recipe: ListedPairsRecipe) -> None:
    table = table_of(recipe, part.task["first_row"])
    write_table(table, draft.path(SAMPLES_FILE))
    draft.count(balance_of(table))


@stage(number=1, recipe=ListedPairsRecipe, makes=RawPairs)
def list_pairs(recipe: ListedPairsRecipe, *, ctx: StageContext) -> None:
    starts = range(0, recipe.num_pairs, recipe.num_rows_per_part)
    over = [Part(name=f"{number:05d}", task={"first_row": first}) for number, first in enumerate(starts)]
    ctx.spread(partial(list_part, recipe=recipe), over=over, phase="download")


class NewCaptionsRecipe(Recipe):
    every: int = 3
    """Every so many kept pairs get a new caption; the others keep theirs."""


def new_caption_of(sample_id: bytes) -> str:
    return f"Rewritten: item {sample_id[0]} stands beside a wooden table."


def caption_part(part: Part, draft: PartDraft, raw: RawPairs, recipe: NewCaptionsRecipe) -> None:
    table = read_table(raw.read(raw.part(part.name).file(SAMPLES_FILE)))
    ids = [row["sample_id"] for row in table.to_pylist() if row["verdict"] == "kept"]
    verdicts = pa.table(
        {
            "sample_id": pa.array(ids, sample_id_type()),
            "verdict": pa.array(["kept"] * len(ids)),
            "reason": pa.nulls(len(ids), pa.string()),
        }
    )
    captions = [None if number % recipe.every else new_caption_of(one) for number, one in enumerate(ids)]
    write_table(verdicts, draft.path(VERDICTS_FILE))
    write_table(pa.table({"caption": pa.array(captions, pa.string())}), draft.path(COLUMNS_FILE))
    draft.count(balance_of(verdicts))


@stage(number=1, recipe=NewCaptionsRecipe, makes=KeptPairs)
def caption_again(recipe: NewCaptionsRecipe, raw: RawPairs, *, ctx: StageContext) -> None:
    over = [Part(name=record.part) for record in raw.parts]
    ctx.spread(partial(caption_part, raw=raw, recipe=recipe), over=over, phase="caption")
