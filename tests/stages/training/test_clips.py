"""One training over rows of clips of two lengths: short ones first, then longer ones, as a context that grows."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.artifacts.kinds import Checkpoint, Rows
from stages.contract import GangLayout
from stages.contract.events import NumbersReported
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.formats.packed_rows.rows import RowReader
from stages.merge_post_llm import MergeRecipe, merge_post_llm
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.train_prebuffer import TrainPrebufferRecipe, train_prebuffer
from stages.training.exposure import seen_of_sources, seen_rows
from stages.tune_end_to_end import TuneRecipe, tune_end_to_end
from tests.worlds.clip_mixture import CLIPS, VideoChatsRecipe, make_video_chats
from tests.worlds.mixture_world import TEXTS, PairsRecipe, make_pairs
from tests.worlds.training_world import LlmRecipe, SmallWorld, make_llm

PAIRS = make_pairs.bind("pairs", PairsRecipe(num_pairs=20, num_parts=1, decodable=True))
KEPT = filter_pairs.bind("kept", FilterPairsRecipe(max_aspect=4.0), PAIRS)
TALK = make_video_chats.bind("talk", VideoChatsRecipe(), KEPT, CLIPS)
LLM = make_llm.bind("llm", LlmRecipe())
MIX = mix_samples.bind(
    "mix", MixRecipe(shares={"clips": 2.0, "talk": 1.0, "text": 1.0}), {"clips": CLIPS, "talk": TALK, "text": TEXTS}
)
SHORT_TOKENS, LONG_TOKENS = 400, 900
SIZES = {"min_pixels_px": 1024, "max_pixels_px": 8192, "min_frame_pixels_px": 1024, "max_frame_pixels_px": 16_384}
SHORT, LONG = (
    pack_rows.bind(name, PackRowsRecipe(max_row_tokens=num_tokens, **SIZES), MIX, LLM)
    for name, num_tokens in (("short", SHORT_TOKENS), ("long", LONG_TOKENS))
)
STEPS: dict[str, Any] = {"rows_per_step": 4, "num_warmup_steps": 0, "precision": "fp32", "peak_learning_rate": 1e-3}
BUFFER = train_prebuffer.bind(
    "prebuffer", TrainPrebufferRecipe(num_steps=1, num_prebuffer_layers=1, patch_hidden=16, **STEPS), [SHORT], LLM
)
MERGED = merge_post_llm.bind("merged", MergeRecipe(), BUFFER, LLM)
TUNED = tune_end_to_end.bind("tuned", TuneRecipe(num_steps=4, until_steps=(2,), **STEPS), MERGED, [SHORT, LONG])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    made = SmallWorld.at(tmp_path_factory.mktemp("clips"))
    made.make(TUNED, GangLayout(num_ranks=2, micro_rows=1))
    return made


def longest_document(rows: Rows) -> int:
    return max(int(np.diff(row.document_offsets).max()) for row in RowReader(rows))


def test_longer_rows_hold_more_of_the_same_clips(world: SmallWorld) -> None:
    short, long = world.open(SHORT), world.open(LONG)
    assert longest_document(short) <= SHORT_TOKENS < longest_document(long) <= LONG_TOKENS
    taken = [
        sum(part.facts.get("num_with_smaller_pictures", 0) for part in rows.phase("measure")) for rows in (short, long)
    ]
    assert taken[0] > taken[1], "what had to be smaller in short rows is whole in long ones"
    held = [Counter(one for row in RowReader(rows) for one in row.sample_ids) for rows in (short, long)]
    assert held[0] == held[1]


def test_one_training_learns_from_both(world: SmallWorld, tmp_path: Path) -> None:
    tuned: Checkpoint = world.open(TUNED)
    numbers = [event.numbers for event in world.events if isinstance(event, NumbersReported) and event.step == "tuned"]
    losses = [one["loss"] for one in numbers if "loss" in one]
    assert losses and all(map(math.isfinite, losses))
    assert tuned.parts[-1].facts["unmoved"] == []
    seen = seen_rows(tuned)
    assert [(one.span.first_step, one.span.until_step) for one in seen] == [(0, 2), (2, 4)]
    of_sources = seen_of_sources(seen, tmp_path)
    assert of_sources.keys() <= {"clips", "talk", "text"} and of_sources["clips"].tokens > 0
