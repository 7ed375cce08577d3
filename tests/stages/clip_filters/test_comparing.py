"""Phase `compare` on many parts: the same duplicates however many ranges of keys there are."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cluster.local import make
from stages.artifacts.kinds import KeptClips
from stages.artifacts.records import ItemBalance
from stages.clip_filters import comparing
from stages.clip_filters.comparing import (
    MAX_RANGES,
    ComparedFacts,
    MeasuredClipFacts,
    compare_clips,
    duplicates_of_part,
    key_ranges,
)
from stages.clip_filters.frame_measures import FrameMeasures
from stages.clip_filters.measured import MEASURED_FILE, MeasuredClip, compared_clips, measured_table
from stages.clip_filters.near_duplicates import KEYS_PER_CLIP, MAX_BITS
from stages.contract import Part, PartDraft, Recipe, StageContext, stage
from stages.formats.sample_table import write_table
from stages.store.store import Store
from tests.stages.clip_filters.test_near_duplicates import expected, with_copies

NUM_PARTS = 5
MEASURES: Any = {"luma": 1.5, "brightest": 2, "contrast": 3, "motion": None, "flicker": None}


class HashesRecipe(Recipe):
    num_clips: int = 600
    num_ranges: int = 1


def measured_clips(recipe: HashesRecipe, part_number: int) -> list[MeasuredClip]:
    """Every fourth clip has a reason of its own, and is not compared."""
    hashes = with_copies(recipe.num_clips)
    size = recipe.num_clips // NUM_PARTS
    return [
        MeasuredClip(
            sample_id=b"%015d\0" % row,
            own_reason="static" if row % 4 == 1 else None,
            stretch=row,
            caption=1,
            measures=FrameMeasures(**MEASURES, hashes=tuple(map(int, hashes[row]))),
        )
        for row in range(part_number * size, (part_number + 1) * size)
    ]


def write_measured(part: Part, draft: PartDraft, recipe: HashesRecipe) -> None:
    clips = measured_clips(recipe, int(part.name[-1]))
    write_table(measured_table(clips), draft.path(MEASURED_FILE))
    draft.fact(**MeasuredClipFacts(num_compared=sum(clip.own_reason is None for clip in clips)).dump())


def write_found(part: Part, draft: PartDraft, **arguments: Any) -> None:
    found = duplicates_of_part(part_number=int(part.name), num_parts=NUM_PARTS, **arguments)
    draft.fact(found={str(row): sample_id.hex() for row, sample_id in sorted(found.items())})
    draft.count(ItemBalance(kept=1))


@stage(number=1, recipe=HashesRecipe, makes=KeptClips)
def compare_hashes(recipe: HashesRecipe, *, ctx: StageContext) -> None:
    over = [Part(name=f"m{number}") for number in range(NUM_PARTS)]
    measured = ctx.spread(partial(write_measured, recipe=recipe), over=over, phase="measure")
    comparing_ = partial(compare_clips, store=ctx.store, measured=measured, max_bits=MAX_BITS)
    compared = ctx.spread(comparing_, over=key_ranges(recipe.num_ranges * 100), phase="compare")
    looking = partial(write_found, store=ctx.store, compared=compared)
    ctx.spread(looking, over=[Part(name=str(number)) for number in range(NUM_PARTS)], phase="judge")


@pytest.mark.parametrize(("num_clips", "num_ranges"), [(600, 1), (600, 7), (2000, 4)])
def test_duplicates_across_parts_are_those_of_comparing_all_with_all(
    num_clips: int, num_ranges: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "CLIPS_PER_RANGE", 100)
    step = compare_hashes.bind("found", HashesRecipe(num_clips=num_clips, num_ranges=num_ranges))
    made = make(step, Store(tmp_path))
    recipe = step.recipe
    clips = np.concatenate(
        [compared_clips(measured_table(measured_clips(recipe, number)), number) for number in range(NUM_PARTS)]
    )
    compared = made.phase("compare")
    assert len(compared) == num_ranges
    assert sum(ComparedFacts.of(record).num_compared for record in compared) == len(clips) * KEYS_PER_CLIP
    found = {
        (number << 32) | int(row) for number, record in enumerate(made.phase("judge")) for row in record.facts["found"]
    }
    assert found == set(expected(clips, MAX_BITS))
    assert len(found) > num_clips // 10


def test_the_number_of_ranges_is_bounded() -> None:
    assert len(key_ranges(0)) == len(key_ranges(200_000)) == 1
    assert len(key_ranges(200_001)) == 2
    assert len(key_ranges(10**9)) == MAX_RANGES


def test_clips_with_a_reason_of_their_own_are_not_compared() -> None:
    table = measured_table(measured_clips(HashesRecipe(), 0))
    assert isinstance(table, pa.Table)
    rows = compared_clips(table, 3)["place"] - np.uint64(3 << 32)
    assert rows.tolist() == [row for row in range(120) if row % 4 != 1]
