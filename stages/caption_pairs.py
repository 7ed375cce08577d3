"""Writes new captions for pairs, by a vision-language model behind an OpenAI-compatible endpoint.

Reads  RawPairs    parts: pairs.tar and samples.parquet
       KeptPairs   in its place: what other stages kept of it
Makes  KeptPairs   parts: verdicts.parquet, a row for each pair; columns.parquet, with `caption`, the new one,
                   `original_caption`, and `caption_by`, the model that wrote the new one

No picture is copied: stages that read KeptPairs find the new captions in place of the old ones, and the old ones stay
in the raw table and in `original_caption`. Each picture is asked about once for each wording of the prompt, however
many pairs share it within a part. A recorded part is never asked again; of one that was interrupted, the answers are in
the cache of its machine (`captioning/caption_cache.py`). Time grows with the pairs over what the endpoint answers;
memory holds one part's table and the pictures in flight.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from stages.artifacts.kinds import COLUMNS_FILE, VERDICTS_FILE, KeptPairs, RawPairs
from stages.captioning.caption_cache import CaptionCache
from stages.captioning.endpoint import CaptionQuestion, Endpoint, ask_all
from stages.captioning.questions import Asking, PictureError, read_answer
from stages.captioning.reasons import CaptionReason
from stages.contract import Part, PartDraft, Recipe, StageContext, StageError, conduct, stage
from stages.formats.losses import MAX_SHARE_LOST, check_losses, examples_of
from stages.formats.pairs import Pair, PairReader
from stages.formats.sample_table import balance_of, verdict_columns, write_table

if TYPE_CHECKING:
    import pyarrow as pa

PROMPT = "Describe this picture in one to three plain sentences. Say what can be seen, and nothing else."
SHOWN = ("url", "original_caption", "caption")
"""Columns that an example of a pair without a new caption shows."""


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
    num_tries: int = Field(default=6, ge=1)
    """Tries of one picture, where the endpoint does not answer, fails, or asks to wait."""
    timeout_seconds: float = Field(default=120.0, gt=0)
    """Longest time of one try."""
    endpoint: str = conduct("http://127.0.0.1:8000/v1", pattern=r"^https?://")
    """Address of the endpoint, which `/chat/completions` follows. It may be a private one."""
    key_variable: str = conduct("")
    """Name of the environment variable that holds the endpoint's key, on the machines that ask; "" sends no key. Name
    it in the site's `secrets` too."""
    num_at_once: int = conduct(32, ge=1)
    """Requests in flight of one part; the site decides how many parts are worked on at once."""
    max_share_lost: float = conduct(MAX_SHARE_LOST, ge=0, le=1)
    """Share of the pairs that may get no caption for one reason before the step fails; 1 takes anything."""

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


@dataclass
class PartAnswers:
    """The answers to the questions of one part, as they come."""

    recipe: CaptionPairsRecipe
    cache: CaptionCache
    draft: PartDraft
    num_asked: int = 0
    """Questions that were put to the endpoint, those of the cache left out."""

    def __post_init__(self) -> None:
        self.by_key: dict[bytes, str | CaptionReason] = {}

    def questions(self, pairs: Mapping[bytes, Pair], reader: PairReader) -> Iterator[CaptionQuestion]:
        """The questions to which no answer is known yet; the known ones are taken over."""
        for key, pair in pairs.items():
            known = self.cache.get(key)
            if known is not None:
                self._take(key, known)
            else:
                self.num_asked += 1
                yield CaptionQuestion(key, partial(_body, pair, reader, self.recipe.asking))

    def take(self, key: bytes, answer: bytes | CaptionReason) -> None:
        """Read an answer, and keep it for the next attempt unless it was a failure."""
        self._take(key, answer)
        caption = self.by_key[key]
        if isinstance(answer, bytes) and not (isinstance(caption, CaptionReason) and caption.retriable):
            self.cache.put(key, answer)

    def _take(self, key: bytes, answer: bytes | CaptionReason) -> None:
        keep_cut = self.recipe.keep_cut
        self.by_key[key] = read_answer(answer, keep_cut=keep_cut) if isinstance(answer, bytes) else answer
        self.draft.progress(len(self.by_key))


def _body(pair: Pair, reader: PairReader, asking: Asking) -> dict[str, Any] | CaptionReason:
    try:
        return asking.body(reader.image_of(pair.image), asking.words(pair.caption))
    except PictureError:
        return CaptionReason.PICTURE_UNREADABLE


def caption_part(part: Part, draft: PartDraft, reader: PairReader, recipe: CaptionPairsRecipe) -> None:
    """Write captions for the pairs of one part, in `columns.parquet`."""
    import pyarrow as pa

    asking, endpoint = recipe.asking, recipe.reach()
    pairs = list(reader.pairs_of(part.name))
    keys = [asking.key(pair.image.sha256, asking.words(pair.caption)) for pair in pairs]
    with CaptionCache() as cache:
        captions = PartAnswers(recipe, cache, draft)
        ask_all(endpoint, captions.questions(dict(zip(keys, pairs, strict=True)), reader), captions.take)
    table = reader.read_table(part.name, ["sample_id", "caption", "original_caption", "url"])
    answers = [captions.by_key[key] for key in keys]
    given = given_columns(table, answers, recipe.model)
    is_kept_anyway = recipe.without_caption == "keep_original"
    reasons = [one if isinstance(one, CaptionReason) and not is_kept_anyway else None for one in answers]
    verdicts = pa.table(
        {"sample_id": table["sample_id"], **verdict_columns(reasons), "caption_by": given["caption_by"]}
    )
    write_table(verdicts, draft.path(VERDICTS_FILE))
    write_table(given, draft.path(COLUMNS_FILE))
    draft.count(balance_of(verdicts))
    shown = given.append_column("url", table["url"]).append_column("reason", verdicts["reason"])
    draft.fact(num_questions=len(set(keys)), **examples_of(shown, SHOWN, first_row=None))
    draft.annotate(endpoint=recipe.endpoint, num_asked=captions.num_asked)


def given_columns(table: pa.Table, answers: list[str | CaptionReason], model: str) -> pa.Table:
    """The table `columns.parquet`: the new captions, the first ones, and who wrote the new ones."""
    import pyarrow as pa

    captions = [None if isinstance(one, CaptionReason) else one for one in answers]
    original = table["original_caption"] if "original_caption" in table.column_names else table["caption"]
    return pa.table(
        {
            "caption": pa.array(captions, pa.string()),
            "original_caption": original,
            "caption_by": pa.array([None if one is None else model for one in captions], pa.string()),
        }
    )


@stage(number=1, recipe=CaptionPairsRecipe, makes=KeptPairs, phases=("caption",))
def caption_pairs(recipe: CaptionPairsRecipe, raw: RawPairs | KeptPairs, *, ctx: StageContext) -> None:
    """Write captions for all kept pairs of `raw`, a part for each of its parts."""
    recipe.reach()
    reader = PairReader(raw)
    records = ctx.spread(
        partial(caption_part, reader=reader, recipe=recipe), over=reader.parts_to_judge, phase="caption"
    )
    check_losses(records, recipe.max_share_lost, items="pairs")
