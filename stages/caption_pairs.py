"""Writes new captions for pairs, by a vision-language model behind an OpenAI-compatible endpoint.

Reads  RawPairs    parts: pairs.tar and samples.parquet
       KeptPairs   in its place: what other stages kept of it
Makes  KeptPairs   parts: verdicts.parquet, a row for each pair; columns.parquet, with `caption`, the new one,
                   `original_caption`, and `caption_by`, the model that wrote the new one

No picture is copied: stages that read KeptPairs find the new captions in place of the old ones, and the old ones stay
in the raw table and in `original_caption`. Each picture is asked about once for each wording of the prompt, however
many pairs share it within a part. A recorded part is never asked again; of one that was interrupted, the answers are in
the cache of its machine (`captioning/caption_cache.py`), or with `shared_answers` in a place for all machines. Time
grows with the pairs over what the endpoint answers; memory holds one part's table and the pictures in flight.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from neo_model.inputs.pictures import PictureError
from stages.artifacts.kinds import KeptPairs, RawPairs
from stages.captioning.caption_cache import CaptionCache
from stages.captioning.endpoint import CaptionQuestion, Endpoint, ask_all
from stages.captioning.part_answers import PartAnswers, draw_captions, write_captions
from stages.captioning.questions import Asking
from stages.captioning.reasons import CaptionReason
from stages.captioning.shared_answers import SharedAnswers
from stages.contract import PROFILE_PHASE, Part, PartDraft, Recipe, StageContext, StageError, conduct, stage
from stages.formats.losses import MAX_SHARE_LOST, check_losses
from stages.formats.pairs import Pair, PairReader
from stages.surfaces.credentials import has_credentials

PLACES = ("s3", "gs", "az")
"""Schemes of the addresses at which answers may be shared."""
PROMPT = "Describe this picture in one to three plain sentences. Say what can be seen, and nothing else."


class CaptionPairsRecipe(Recipe):
    """Which model writes the captions, what it is asked, and how patiently."""

    model: str = Field(min_length=1)
    """Name of the model at the endpoint, such as `Qwen/Qwen3-VL-8B-Instruct`. It stands beside each caption."""
    prompt: str = Field(default=PROMPT, min_length=1)
    """Words beside each picture. `{caption}` in them is the caption that the pair has so far."""
    max_new_tokens: int = Field(default=256, ge=1)
    """Longest answer, in tokens."""
    temperature: float = Field(default=0.0, ge=0)
    """Temperature of sampling; 0 takes the most likely token."""
    seed: int = 0
    """Seed of sampling, for endpoints that take one."""
    max_side_px: int = Field(default=1024, ge=16)
    """Longest side of the pictures that are sent, in pixels; larger ones are made smaller."""
    jpeg_quality: int = Field(default=90, ge=1, le=100)
    """Quality of the JPEG files that are sent."""
    keep_cut: bool = False
    """Whether an answer that was cut at `max_new_tokens` is taken as a caption."""
    without_caption: Literal["drop", "keep_original"] = "drop"
    """Whether a pair that got no new caption ends with the reason, or is kept with the caption that it has."""
    num_tries: int = Field(default=6, ge=1, le=100)
    """Tries of one picture, where the endpoint does not answer, fails, or asks to wait."""
    timeout_seconds: float = Field(default=120.0, gt=0)
    """Longest time of one try."""
    endpoint: str = conduct("http://127.0.0.1:8000/v1", pattern=r"^https?://")
    """Address of the endpoint, which `/chat/completions` follows. It may be a private one, and holds no secret: it is
    recorded."""
    key_variable: str = conduct("")
    """Name of the environment variable that holds the endpoint's key, on the machines that ask; "" sends no key. Name
    it in the site's `secrets` too."""
    num_at_once: int = conduct(32, ge=1, le=10_000)
    """Requests in flight of one part; the site decides how many parts are worked on at once."""
    shared_answers: str = conduct("")
    """Folder or address, such as `s3://bucket/answers`, that all machines see and where answers are kept until it is
    removed, so that a machine which takes a part over asks nothing twice; "" keeps them on each machine alone."""
    max_share_lost: float = conduct(MAX_SHARE_LOST, ge=0, le=1)
    """Share of the pairs that may get no caption for one reason before the step fails; 1 takes anything."""

    @field_validator("endpoint")
    @classmethod
    def _holds_no_secret(cls, endpoint: str) -> str:
        if "@" in urlsplit(endpoint).netloc or "?" in endpoint or "#" in endpoint:
            raise ValueError(
                "`endpoint` is recorded, so it takes no user, password, query or fragment; give the address alone, "
                "and name the environment variable that holds the key in `key_variable`"
            )
        return endpoint

    @field_validator("shared_answers")
    @classmethod
    def _is_one_place_for_all(cls, place: str) -> str:
        scheme, is_address, _ = place.partition("://")
        if has_credentials(place):
            raise ValueError(
                "`shared_answers` is recorded, so it takes no user, password, signature or token; give the address "
                "alone, and the credentials in the environment of the machines that ask"
            )
        if is_address and scheme not in PLACES:
            raise ValueError(f"shared_answers: no place begins with {scheme}://; known are {', '.join(PLACES)}")
        if place and not is_address and not place.startswith("/"):
            raise ValueError(f"shared_answers = {place!r} means another folder on each machine; give an absolute path")
        return place

    @property
    def asking(self) -> Asking:
        """All that decides an answer but the picture."""
        return Asking(
            model=self.model,
            prompt=self.prompt,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            seed=self.seed,
            max_side_px=self.max_side_px,
            jpeg_quality=self.jpeg_quality,
        )

    def cache(self, reader: PairReader, part: str) -> CaptionCache:
        """What is known already about the pictures of a part, on this machine and, if it is shared, on others."""
        if not self.shared_answers:
            return CaptionCache()
        return CaptionCache(SharedAnswers(self.shared_answers, repr(self.asking), reader.raw.fingerprint, part))

    def reach(self) -> Endpoint:
        """The endpoint with its key. Raises `StageError` where the key's variable is not set."""
        key = os.environ.get(self.key_variable) if self.key_variable else None
        if self.key_variable and not key:
            raise StageError(
                f"the environment has no {self.key_variable}, which `key_variable` names; set it on each machine "
                "that asks, and name it in the site's `secrets`"
            )
        return Endpoint(
            address=self.endpoint,
            key=key,
            num_at_once=self.num_at_once,
            num_tries=self.num_tries,
            timeout_seconds=self.timeout_seconds,
        )


def _body(pair: Pair, reader: PairReader, asking: Asking) -> dict[str, Any] | CaptionReason:
    try:
        return asking.body(reader.image_of(pair.image), asking.words(pair.caption))
    except PictureError:
        return CaptionReason.PICTURE_UNREADABLE


def caption_part(part: Part, draft: PartDraft, reader: PairReader, recipe: CaptionPairsRecipe) -> None:
    """Write captions for the pairs of one part, in `columns.parquet`."""
    asking, endpoint = recipe.asking, recipe.reach()
    with recipe.cache(reader, part.name) as cache:
        pairs = list(reader.pairs_of(part.name))
        answers = PartAnswers(pairs, asking, cache, draft, keep_cut=recipe.keep_cut)
        questions = (CaptionQuestion(key, partial(_body, pair, reader, asking)) for key, pair in answers.unanswered())
        ask_all(endpoint, questions, answers.take)
    keeps_original = recipe.without_caption == "keep_original"
    write_captions(draft, reader, part.name, answers, model=recipe.model, keeps_original=keeps_original)
    draft.annotate(endpoint=recipe.endpoint)


@stage(number=1, recipe=CaptionPairsRecipe, makes=KeptPairs, phases=("caption", PROFILE_PHASE), part_by_part="raw")
def caption_pairs(recipe: CaptionPairsRecipe, raw: RawPairs | KeptPairs, *, ctx: StageContext) -> None:
    """Write captions for all kept pairs of `raw`, a part for each of its parts."""
    recipe.reach()
    reader = PairReader(raw)
    records = ctx.spread(
        partial(caption_part, reader=reader, recipe=recipe), over=reader.parts_to_judge, phase="caption"
    )
    draw_captions(ctx, records, reader, "caption_pairs")
    check_losses(records, recipe.max_share_lost, items="pairs")
