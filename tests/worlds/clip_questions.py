"""Questions about the clips of `clip_world.py`, as a reader of conversations makes them."""

from functools import partial
from hashlib import sha256
from typing import Any

from stages.artifacts.kinds import CONVERSATIONS_FILE, Conversations, RawClips
from stages.contract import Part, PartDraft, Recipe, StageContext, stage
from stages.formats.sample_table import balance_of, sample_id_type, write_table
from tests.worlds.clip_world import clip_id

LOST_CLIP = b"no such clip here"[:16]


class ClipQuestionsRecipe(Recipe):
    films: tuple[str, ...] = ("walk", "jump", "turn", "fall")
    """Films of which the first clip is asked about."""
    style: str = "timestamps"
    """How frames are announced."""


@stage(number=1, recipe=ClipQuestionsRecipe, makes=Conversations)
def ask_about_clips(recipe: ClipQuestionsRecipe, clips: RawClips, *, ctx: StageContext) -> None:
    del clips
    ctx.spread(partial(write_questions, recipe=recipe), over=[Part(name="00000")], phase="read")


def write_questions(part: Part, draft: PartDraft, recipe: ClipQuestionsRecipe) -> None:
    import pyarrow as pa

    rows = [asked(film, [clip_id(film)], "Which?", "order", "red", recipe) for film in recipe.films]
    rows.append(asked("two", [clip_id("walk"), clip_id("jump", 1)], "First <video> then", "pair", "red", recipe))
    rows.append(asked("lost", [LOST_CLIP], "Which?", "order", "red", recipe))
    rows.append(asked("none", [], "Say red.", "word", "red", recipe))
    rows.append(asked("far", [clip_id("walk", 1)], "How far?", "far", "2.0", recipe) | {"scoring": "numeric"})
    rows.append(asked("places", [clip_id("walk")], "<video>", "order", "red", recipe))
    message = pa.struct([("role", pa.string()), ("content", pa.string()), ("video_tags", pa.list_(pa.int32()))])
    ids = pa.list_(sample_id_type())
    names = ("kind", "answer", "video_style", "scoring", "verdict", "reason")
    schema = [
        ("sample_id", sample_id_type()),
        ("image_ids", ids),
        ("clip_ids", ids),
        ("messages", pa.list_(message)),
        *((name, pa.string()) for name in names),
    ]
    table = pa.Table.from_pylist(rows, schema=pa.schema(schema))
    write_table(table, draft.path(CONVERSATIONS_FILE))
    draft.count(balance_of(table))


def asked(
    name: str, clips: list[bytes], words: str, kind: str, truth: str, recipe: ClipQuestionsRecipe
) -> dict[str, Any]:
    content = f"<video>\n{words}" if clips else words
    return {
        "sample_id": sha256(name.encode()).digest()[:16],
        "image_ids": [],
        "clip_ids": clips,
        "messages": [{"role": "user", "content": content}, {"role": "assistant", "content": truth}],
        "kind": kind,
        "answer": truth,
        "video_style": recipe.style,
        "scoring": "exact",
        "verdict": "kept",
        "reason": None,
    }
