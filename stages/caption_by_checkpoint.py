"""Writes new captions for pairs, by a checkpoint of ours.

Reads  RawPairs    parts: pairs.tar and samples.parquet
       KeptPairs   in its place: what other stages kept of it
       Checkpoint, or ExportedCheckpoint   `captioner`, which writes the captions
Makes  KeptPairs   as `caption_pairs` does: verdicts.parquet, and columns.parquet with `caption`, `original_caption` and
                   `caption_by`, the stage and fingerprint of the captioner

Captions are generated greedily, in batches, on the GPU that the site gives the phase, or on the CPU. The model is
loaded once for each part. Answers of an interrupted part are in the cache of its machine, as those of `caption_pairs`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Literal

from pydantic import Field

from neo_model.inputs.conversation import IMAGE_PLACEHOLDER
from stages.artifacts.kinds import Checkpoint, ExportedCheckpoint, KeptPairs, RawPairs
from stages.benchmarks.benchmark import PixelRange
from stages.captioning.caption_cache import CaptionCache
from stages.captioning.part_answers import PartAnswers, draw_captions, write_captions
from stages.captioning.questions import Asking
from stages.captioning.reasons import CaptionReason
from stages.contract import PROFILE_PHASE, Part, PartDraft, Recipe, StageContext, conduct, stage
from stages.evaluation.answering import Answerer, load_model_folder
from stages.evaluation.media import MediaReader
from stages.evaluation.questions import PLAIN_KIND, Question, QuestionTrouble
from stages.formats.losses import MAX_SHARE_LOST, check_losses
from stages.formats.pairs import Pair, PairReader

PROMPT = "Describe this picture in one to three plain sentences."


class CaptionByCheckpointRecipe(Recipe):
    """What the checkpoint is asked, and how long its answers may be."""

    prompt: str = Field(default=PROMPT, min_length=1)
    """Words below each picture. `{caption}` in them is the caption that the pair has so far."""
    max_new_tokens: int = Field(default=256, ge=1)
    """Longest caption, in tokens; one that reaches it is cut."""
    max_prompt_tokens: int = Field(default=8192, ge=1)
    """Longest prompt, in tokens, those of the picture included; a pair with a longer one gets no caption."""
    min_pixels_px: int | None = Field(default=None, ge=1)
    """Fewest pixels of a picture after resizing; None takes the checkpoint's."""
    max_pixels_px: int | None = Field(default=None, ge=1)
    """Most pixels of a picture after resizing; None takes the checkpoint's."""
    keep_cut: bool = False
    """Whether a caption that was cut at `max_new_tokens` is taken."""
    without_caption: Literal["drop", "keep_original"] = "drop"
    """Whether a pair that got no new caption ends with the reason, or is kept with the caption that it has."""
    num_at_once: int = conduct(32, ge=1, le=10_000)
    """Pairs in one batch."""
    max_share_lost: float = conduct(MAX_SHARE_LOST, ge=0, le=1)
    """Share of the pairs that may get no caption for one reason before the step fails; 1 takes anything."""


class _PartPictures(PairReader):
    """The pictures of the pairs of one part, found without an index of all parts."""

    def __init__(self, reader: PairReader, pairs: Sequence[Pair]) -> None:
        super().__init__(reader.pairs)
        self._by_id: Mapping[bytes, Pair] = {pair.sample_id: pair for pair in pairs}

    def image(self, sample_id: bytes) -> bytes:
        """The encoded image of this sample id."""
        return self.image_of(self._by_id[sample_id].image)


def asking_of(recipe: CaptionByCheckpointRecipe, captioner: Checkpoint | ExportedCheckpoint) -> Asking:
    """All that decides an answer but the picture."""
    return Asking(
        model=f"{captioner.stage}/{captioner.fingerprint} {recipe.min_pixels_px} {recipe.max_pixels_px} "
        f"{recipe.max_prompt_tokens}",
        prompt=recipe.prompt,
        max_new_tokens=recipe.max_new_tokens,
        temperature=0.0,
        seed=0,
        max_side_px=0,
        jpeg_quality=0,
    )


def caption_part(
    part: Part,
    draft: PartDraft,
    reader: PairReader,
    recipe: CaptionByCheckpointRecipe,
    captioner: Checkpoint | ExportedCheckpoint,
) -> None:
    """Write captions for the pairs of one part, in `columns.parquet`."""
    asking, pairs = asking_of(recipe, captioner), list(reader.pairs_of(part.name))
    with CaptionCache() as cache:
        answers = PartAnswers(pairs, asking, cache, draft, keep_cut=recipe.keep_cut)
        waiting = list(answers.unanswered())
        answerer = _answerer(draft, _PartPictures(reader, pairs), recipe, captioner) if waiting else None
        left = iter(waiting)
        while answerer is not None and (asked := list(islice(left, recipe.num_at_once))):
            words = [asking.words(pair.caption) for _, pair in asked]
            replies = ask_together(answerer, [pair.sample_id for _, pair in asked], words)
            for (key, _), reply in zip(asked, replies, strict=True):
                answers.take(key, reply)
    keeps_original = recipe.without_caption == "keep_original"
    model = f"{captioner.stage}/{captioner.short}"
    write_captions(draft, reader, part.name, answers, model=model, keeps_original=keeps_original)


def _answerer(
    draft: PartDraft,
    pictures: PairReader,
    recipe: CaptionByCheckpointRecipe,
    captioner: Checkpoint | ExportedCheckpoint,
) -> Answerer:
    draft.busy("reading the model")
    with captioner.linked_in(draft.scratch / "captioner") as folder:
        model, tokenizer = load_model_folder(folder)
    draft.busy("writing captions")
    least = recipe.min_pixels_px or model.config.min_pixels_px
    pixels = PixelRange(least, recipe.max_pixels_px or model.config.max_pixels_px)
    media = MediaReader(pictures=pictures, clips=None, image_pixels=pixels, frame_pixels=pixels, max_frames=1)
    return Answerer(
        model=model,
        tokenizer=tokenizer,
        media=media,
        max_prompt_tokens=recipe.max_prompt_tokens,
        max_new_tokens=recipe.max_new_tokens,
    )


def ask_together(answerer: Answerer, sample_ids: Sequence[bytes], words: Sequence[str]) -> list[bytes | CaptionReason]:
    """The answers about some pairs, in the form of an endpoint's, or why there is none."""
    prompts = []
    for sample_id, text in zip(sample_ids, words, strict=True):
        turn = {"role": "user", "content": f"{IMAGE_PLACEHOLDER}\n{text}"}
        question = Question(
            sample_id=sample_id, image_ids=(sample_id,), kind=PLAIN_KIND, messages=(turn,), truth="a caption"
        )
        prompts.append(answerer.prompt(question, question.media))
    replies: list[bytes | CaptionReason] = []
    for answer in answerer.answers(prompts):
        if isinstance(answer, QuestionTrouble) or answer is None:
            is_picture = answer is QuestionTrouble.IMAGE_UNUSABLE
            replies.append(CaptionReason.PICTURE_UNREADABLE if is_picture else CaptionReason.REQUEST_REJECTED)
            continue
        is_cut = len(answerer.tokenizer.encode(answer, add_special_tokens=False).ids) >= answerer.max_new_tokens
        choice = {"message": {"content": answer}, "finish_reason": "length" if is_cut else "stop"}
        replies.append(json.dumps({"choices": [choice]}).encode())
    return replies


@stage(
    number=1, recipe=CaptionByCheckpointRecipe, makes=KeptPairs, phases=("caption", PROFILE_PHASE), part_by_part="raw"
)
def caption_by_checkpoint(
    recipe: CaptionByCheckpointRecipe,
    raw: RawPairs | KeptPairs,
    captioner: Checkpoint | ExportedCheckpoint,
    *,
    ctx: StageContext,
) -> None:
    """Write captions for all kept pairs of `raw`, a part for each of its parts."""
    reader = PairReader(raw)
    work = partial(caption_part, reader=reader, recipe=recipe, captioner=captioner)
    records = ctx.spread(work, over=reader.parts_to_judge, phase="caption")
    draw_captions(ctx, records, reader, "caption_by_checkpoint")
    check_losses(records, recipe.max_share_lost, items="pairs")
