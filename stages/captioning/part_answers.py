"""The answers of one part, from the cache or as they come, and the tables that they become.

Owns what is asked again, what is kept for the next attempt, and the columns that a pair is given. Who answers is known
to the stages: an endpoint, or a checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from stages.artifacts.kinds import COLUMNS_FILE, VERDICTS_FILE
from stages.captioning.caption_cache import CaptionCache
from stages.captioning.questions import Asking, read_answer
from stages.captioning.reasons import CaptionReason
from stages.contract import PartDraft, PartRecord, StageContext
from stages.formats.losses import examples_of
from stages.formats.pairs import Pair, PairReader
from stages.formats.sample_table import balance_of, verdict_columns, with_columns, write_table
from stages.profiles.example_pictures import PairPictures
from stages.profiles.pictures import ProfileSubject, draw_profile, keep_profile
from stages.profiles.profile import PAIR_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = ("url", "original_caption", "caption")
"""Columns that an example of a pair without a new caption shows."""


class PartAnswers:
    """The answers to the questions about the pairs of one part: one for each picture and wording."""

    def __init__(
        self, pairs: Sequence[Pair], asking: Asking, cache: CaptionCache, draft: PartDraft, *, keep_cut: bool
    ) -> None:
        self.keys = [asking.key(pair.image.sha256, asking.words(pair.caption)) for pair in pairs]
        self.by_key: dict[bytes, str | CaptionReason] = {}
        self.num_asked = 0
        """Questions to which the cache had no answer."""
        self._pairs, self._cache, self._draft, self._keep_cut = pairs, cache, draft, keep_cut

    def unanswered(self) -> Iterator[tuple[bytes, Pair]]:
        """Key and pair of each question that is still to be asked; answers of the cache are taken over."""
        for key, pair in dict(zip(self.keys, self._pairs, strict=True)).items():
            known = self._cache.get(key)
            if known is not None:
                self._take(key, known)
            else:
                self.num_asked += 1
                yield key, pair

    def take(self, key: bytes, answer: bytes | CaptionReason) -> None:
        """Read an answer, and keep it for the next attempt unless it was a failure."""
        self._take(key, answer)
        caption = self.by_key[key]
        if isinstance(answer, bytes) and not (isinstance(caption, CaptionReason) and caption.retriable):
            self._cache.put(key, answer)

    def _take(self, key: bytes, answer: bytes | CaptionReason) -> None:
        keep_cut = self._keep_cut
        self.by_key[key] = read_answer(answer, keep_cut=keep_cut) if isinstance(answer, bytes) else answer
        self._draft.progress(len(self.by_key))

    def captions(self) -> list[str | CaptionReason]:
        """The new caption of each pair, or why it has none."""
        return [self.by_key[key] for key in self.keys]


def write_captions(
    draft: PartDraft, reader: PairReader, part: str, answers: PartAnswers, *, model: str, keeps_original: bool
) -> None:
    """Write the verdicts of a part and the columns that its pairs are given; `model` is who wrote the captions."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = reader.read_table(part, [*PAIR_COLUMNS, "original_caption"])
    captions = answers.captions()
    given = given_columns(table, captions, model)
    reasons = [one if isinstance(one, CaptionReason) and not keeps_original else None for one in captions]
    verdicts = pa.table(
        {"sample_id": table["sample_id"], **verdict_columns(reasons), "caption_by": given["caption_by"]}
    )
    write_table(verdicts, draft.path(VERDICTS_FILE))
    write_table(given, draft.path(COLUMNS_FILE))
    draft.count(balance_of(verdicts))
    shown = given.append_column("url", table["url"]).append_column("reason", verdicts["reason"])
    draft.fact(num_questions=len(answers.by_key), **examples_of(shown, SHOWN, first_row=None))
    draft.annotate(num_asked=answers.num_asked)
    captions_now = pa.table({"caption": pc.coalesce(given["caption"], table["caption"])})
    profiled = with_columns(with_columns(with_columns(table, given), captions_now), verdicts)
    keep_profile(draft, profiled, part, len(reader.parts), captions_before=given["original_caption"])


def draw_captions(ctx: StageContext, records: Sequence[PartRecord], reader: PairReader, title: str) -> None:
    """Draw what a stage that writes captions did: pictures with the new captions, and those before."""
    subject = ProfileSubject(title=f"{title} of {reader.pairs.stage}/{reader.pairs.short}", items="pairs", text_lines=6)
    draw_profile(ctx, records, subject, PairPictures(reader.images))


def given_columns(table: pa.Table, answers: Sequence[str | CaptionReason], model: str) -> pa.Table:
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
