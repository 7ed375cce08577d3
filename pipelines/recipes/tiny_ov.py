"""`tiny` taught films, comparisons and rooms, as NEO-ov follows on NEO.

It begins with the pre-Buffer of `tiny`, cut out of its tuned checkpoint, and goes through NEO-ov's three stages: the
pre-Buffer against the plain language model again, the whole model on text, pictures, several pictures and films, then
conversations alone. Films come over HTTP as H.264 files, some of them broken; frames are taken once a second and
announced by their times. What `tiny` has made already is reused.

In mid-training the paper has text, image-text, several images and video as 2 : 4 : 1 : 1, on top of what it does not
say about their lengths. Here `tiny` has seen text and single pictures ten thousand times and films never, and there are
minutes: films and several pictures have the larger part (`MID_SHARES`).

One run, about a quarter of an hour beyond `tiny`: films 0.995 (0.45 with shuffled frames, where guessing gives 0.43),
two pictures compared 0.97, rooms 0.80, single pictures 0.98. Weakest is whether the viewer of a room steps closer or
away, 0.65 where guessing gives 0.50.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from pipelines.recipes.tiny import MAX_PIXELS_PX, MIN_PIXELS_PX, tiny
from stages.artifacts.kinds import Draw, Evaluation, ExportedCheckpoint, Rows
from stages.collect_images import CollectImagesRecipe, collect_images
from stages.contract import Source, Step
from stages.cut_clips import CutClipsRecipe, cut_clips
from stages.evaluate import EvaluateRecipe, evaluate
from stages.export import ExportRecipe, export
from stages.filter_clips import FilterClipsRecipe, filter_clips
from stages.merge_post_llm import MergeRecipe, merge_post_llm
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.read_conversations import ReadConversationsRecipe, read_conversations
from stages.take_prebuffer import TakePrebufferRecipe, take_prebuffer
from stages.train_prebuffer import train_prebuffer
from stages.tune_end_to_end import tune_end_to_end

Tiny: TypeAlias = tuple[Step[Evaluation], Step[ExportedCheckpoint]]
OvTargets: TypeAlias = tuple[Step[Evaluation], Step[Evaluation], Step[ExportedCheckpoint]]
"""Answers about films, pairs and rooms; about single pictures, to be compared with those of `tiny`; the model."""

CHAT_SHARES = {"talks": 7.0, "pair_talks": 3.0, "room_talks": 2.5, "film_talks": 5.0}
"""Samples of each source in the last stage."""
MID_SHARES = {"text": 1.0, **CHAT_SHARES}
"""Samples of each source in mid-training."""
MAX_EPOCHS = {"film_talks": 2.5, "room_talks": 2.5}
"""How often films and rooms may be passed over: there are 2,000 of each."""


@dataclass(frozen=True)
class OvEffort:
    """Training length of each stage, in optimizer steps, and the samples that the last two are trained on."""

    prebuffer: int
    mid: int
    chat: int
    mid_samples: int | None = None
    chat_samples: int | None = None


def tiny_ov() -> OvTargets:
    """Learn to tell what moved where, came first or grew, how two pictures differ, and where things stand in a room."""
    return learn_ov(tiny(), OvEffort(prebuffer=200, mid=2400, chat=400, mid_samples=14_000, chat_samples=3_000))


def learn_ov(before: Tiny, effort: OvEffort) -> OvTargets:
    """The graph of `tiny_ov` behind any graph of `tiny`, with any effort."""
    whole, _ = before
    made: dict[str, Step[Any]] = {step.name: step for step in whole.walk()}
    llm, kept, unseen, questions = (made[name] for name in ("base_llm", "kept", "heldout_pairs", "questions"))

    clips = cut_clips.bind("clips", CutClipsRecipe(source=Source("toy_films"), min_clip_seconds=1.0))
    kept_clips = filter_clips.bind("kept_clips", FilterClipsRecipe(max_near_bits=None), clips)
    film_talks = _talks("film_talks", "toy_film_conversations", None, kept_clips)
    pair_talks = _talks("pair_talks", "toy_pair_conversations", kept, None)
    views = collect_images.bind("views", CollectImagesRecipe(source=Source("toy_room_conversations")))
    room_talks = _talks("room_talks", "toy_room_conversations", views, None)

    unseen_clips = cut_clips.bind("heldout_clips", CutClipsRecipe(source=Source("toy_heldout_films")))
    unseen_pictures = collect_images.bind("ov_pictures", CollectImagesRecipe(source=Source("toy_ov_questions")))
    ov_questions = _talks("ov_questions", "toy_ov_questions", unseen_pictures, unseen_clips)
    heldout = {"pairs": unseen, "questions": questions, "clips": unseen_clips, "ov_questions": ov_questions}
    sources: dict[str, Step[Any]] = {
        "text": made["text"], "talks": made["talks"],
        "film_talks": film_talks, "pair_talks": pair_talks, "room_talks": room_talks,
    }  # fmt: skip

    def rows(name: str, shares: dict[str, float], num_samples: int | None) -> Step[Rows]:
        recipe = MixRecipe(shares=shares, max_epochs=MAX_EPOCHS, num_samples=num_samples)
        drawn = {source: sources[source] for source in shares}
        return packed(name, mix_samples.bind(f"{name}_mix", recipe, drawn, heldout))

    def packed(name: str, draw: Step[Draw]) -> Step[Rows]:
        recipe = PackRowsRecipe(
            max_row_tokens=512, min_pixels_px=MIN_PIXELS_PX, max_pixels_px=MAX_PIXELS_PX,
            min_frame_pixels_px=MIN_PIXELS_PX, max_frame_pixels_px=MAX_PIXELS_PX,
        )  # fmt: skip
        return pack_rows.bind(f"{name}_rows", recipe, draw, llm)

    mid_rows = rows("ov_mid", MID_SHARES, effort.mid_samples)
    chat_rows = rows("ov_chat", CHAT_SHARES, effort.chat_samples)
    examine = MixRecipe(shares={"ov_questions": 1}, purpose="examine")
    heldout_rows = packed("ov_heldout", mix_samples.bind("ov_heldout_mix", examine, {"ov_questions": ov_questions}))

    taken = take_prebuffer.bind("taken", TakePrebufferRecipe(), made["chat"])
    further = made["prebuffer"].recipe.model_copy(update={"num_steps": effort.prebuffer, "rebase": True})
    buffer = train_prebuffer.bind("ov_prebuffer", further, [made["pretrain_rows"]], llm, None, None, taken)
    merged = merge_post_llm.bind("ov_merged", MergeRecipe(), buffer, llm)
    longer = made["mid"].recipe.model_copy(update={"num_steps": effort.mid})
    mid = tune_end_to_end.bind("ov_mid", longer, merged, [mid_rows], heldout_rows, ov_questions)
    last = made["chat"].recipe.model_copy(update={"num_steps": effort.chat})
    chat = tune_end_to_end.bind("ov_chat", last, mid, [chat_rows], heldout_rows, ov_questions)

    asking = EvaluateRecipe(
        max_new_tokens=8, min_frame_pixels_px=MIN_PIXELS_PX, max_frame_pixels_px=MAX_PIXELS_PX, shuffled_control=True
    )
    evaluation = evaluate.bind("ov_evaluate", asking, chat, ov_questions)
    single = evaluate.bind("ov_single", made["evaluate"].recipe, chat, questions)
    publishing = ExportRecipe(title="NEO-ov tiny", languages=("en",))
    measured = {"films_and_rooms": evaluation, "single_pictures": single}
    return evaluation, single, export.bind("ov_export", publishing, chat, measured)


def _talks(name: str, source: str, pictures: Step[Any] | None, clips: Step[Any] | None) -> Step[Any]:
    return read_conversations.bind(name, ReadConversationsRecipe(source=Source(source)), pictures, clips)
