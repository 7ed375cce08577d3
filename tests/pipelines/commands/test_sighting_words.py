"""Sightings in sentences: every class has one, and long lists are cut with their number."""

import pytest

from pipelines.commands.sighting_words import describe
from pipelines.lineage.sightings import (
    ConversationSighting,
    DrawSighting,
    ModelSighting,
    RowsSighting,
    Sighting,
    VerdictSighting,
    WeightsSighting,
)

MANY = [
    {"part": str(n % 3), "verdict": "kept" if n % 3 else "dropped", "reason": None if n % 3 else "too_small"}
    for n in range(1200)
]
WEIGHTS = {"num_steps": 300, "has_rows": True, "is_examined_on": False}


@pytest.mark.parametrize(
    ("sighting", "sentence"),
    [
        (
            RowsSighting(artifact=None, shards=dict.fromkeys(range(12), "00003"), documents={}),
            "rows 0, 1, 2, 3, 4, 5, 6, 7 and 4 more in shard 00003",
        ),
        (
            VerdictSighting(artifact=None, verdicts=tuple(MANY)),
            "1,200 in 3 parts: 800 kept, 400 dropped (too_small)",
        ),
        (VerdictSighting(artifact=None, verdicts=tuple(MANY[:2])), "part 0: dropped (too_small); part 1: kept"),
        (ConversationSighting(artifact=None, num_dropped=2), "0 conversations about it, 2 dropped"),
        (DrawSighting(artifact=None), "not drawn"),
        (
            WeightsSighting(artifact=None, steps=(12, 40), **WEIGHTS),
            "steps 12, 40 of 300 took it; in every checkpoint from step 12 on",
        ),
        (
            WeightsSighting(artifact=None, steps=(), seen_before_by="mid", **WEIGHTS),
            "its rows were packed, but no step had come to them; made of what saw it: mid",
        ),
        (ModelSighting(artifact=None, seen_before_by="chat", read_as=("questions",)),
         "made of what saw it: chat; reads it as questions"),
    ],
)  # fmt: skip
def test_a_sighting_is_a_sentence(sighting: Sighting, sentence: str) -> None:
    assert describe(sighting) == sentence


def test_a_class_without_a_sentence_is_refused() -> None:
    with pytest.raises(TypeError, match="no sentence"):
        describe(Sighting(artifact=None))
