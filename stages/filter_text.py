"""Judges which documents of a text corpus are worth learning from, by the rules of Gopher, C4 and FineWeb.

Reads  TextDocuments   parts: documents.parquet
       KeptTexts       in its place: what other stages kept of it
Makes  KeptTexts       parts: verdicts.parquet, a row for each document, with its language; columns.parquet, with the
                       text of each document of which lines went; other texts stay in TextDocuments

The rules are asked in the order in which FineWeb was made: language, Gopher's repetition, Gopher's quality, C4, which
takes lines out, and FineWeb's own, of what is left. Each document is judged by itself. The limits are those that were
published for English; another language needs others, in a step of its own. Time and memory grow with the characters of
a part, and parts do not know of each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field

from stages.artifacts.kinds import COLUMNS_FILE, VERDICTS_FILE, KeptTexts, TextDocuments
from stages.contract import PROFILE_PHASE, Part, PartDraft, PartFacts, Recipe, StageContext, StageError, conduct, stage
from stages.formats.judged.texts import TextReader
from stages.formats.losses import MAX_SHARE_LOST, check_losses, examples_of
from stages.formats.sample_table import balance_of, verdict_columns, with_columns, write_table
from stages.profiles.pictures import ProfileSubject, draw_profile, keep_profile
from stages.text_quality.c4 import C4Rules, RemovedLine, apply_c4
from stages.text_quality.fineweb import FineWebQuality, reason_of_fineweb
from stages.text_quality.gopher import GopherQuality, GopherRepetition, reason_of_quality, reason_of_repetition
from stages.text_quality.language import Language, known_languages, language_of
from stages.text_quality.reasons import DocumentReason
from stages.text_quality.split_text import SplitText

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = ("text", "language", "language_score")
"""Columns that an example of a dropped document shows."""


class FilterTextRecipe(Recipe):
    """Which documents are kept, by which published rules."""

    languages: tuple[str, ...] = ("en",)
    """Languages that are kept, as ISO 639-1 codes; () keeps every language, and asks for none. The limits of the other
    fields are for English: give other languages a step and limits of their own."""
    min_language_score: float = Field(default=0.65, ge=0, le=1)
    """Smallest probability of the language of a document that is kept. FineWeb took 0.65, by another model."""
    repetition: GopherRepetition | None = GopherRepetition()
    """Limits of Gopher's repetition filter; None leaves it out."""
    quality: GopherQuality | None = GopherQuality()
    """Limits of Gopher's quality filter; None leaves it out."""
    c4: C4Rules | None = C4Rules()
    """Lines and documents that C4 takes out; None leaves this out, and no text changes."""
    fineweb: FineWebQuality | None = FineWebQuality()
    """Limits of FineWeb's own filters, which see the lines that C4's rules leave; None leaves them out."""
    max_share_lost: float = conduct(MAX_SHARE_LOST, ge=0, le=1)
    """Share of the documents that may be dropped for one reason before the step fails; 1 takes anything."""


class RemovedLinesFacts(PartFacts):
    """What a part records of lines that went."""

    num_changed: int
    """Kept documents whose text changed."""
    removed_lines: dict[str, int]
    """Lines that went out of kept documents, by reason."""


@dataclass(frozen=True, slots=True)
class JudgedText:
    """A document after all rules."""

    reason: DocumentReason | None
    """Why it is dropped; None keeps it."""
    language: Language | None
    """Its language; None where it was not asked for, or cannot be told."""
    changed_text: str | None = None
    """Its text where lines or citations went; None where it stays as it is."""
    removed: Counter[RemovedLine] | None = None
    """Lines that went, by reason."""


def judge_text(text: str, recipe: FilterTextRecipe) -> JudgedText:
    """Ask all rules about a document, up to the first that drops it."""
    language = language_of(text) if recipe.languages else None
    reason = _reason_of_language(language, recipe) or _reason_of_gopher(text, recipe)
    if reason is not None or recipe.c4 is None:
        return JudgedText(reason or _reason_of_fineweb(text, recipe), language)
    left = apply_c4(text, recipe.c4)
    reason = left.reason or _reason_of_fineweb("\n".join(left.kept), recipe)
    is_changed = reason is None and left.text != text
    return JudgedText(reason, language, left.text if is_changed else None, left.removed if is_changed else None)


def _reason_of_language(language: Language | None, recipe: FilterTextRecipe) -> DocumentReason | None:
    if not recipe.languages:
        return None
    if language is None:
        return DocumentReason.LANGUAGE_UNKNOWN
    is_wanted = language.code in recipe.languages and language.score >= recipe.min_language_score
    return None if is_wanted else DocumentReason.LANGUAGE


def _reason_of_gopher(text: str, recipe: FilterTextRecipe) -> DocumentReason | None:
    split = SplitText(text)
    reason = None if recipe.repetition is None else reason_of_repetition(split, recipe.repetition)
    if reason is not None or recipe.quality is None:
        return reason
    return reason_of_quality(split, recipe.quality)


def _reason_of_fineweb(text: str, recipe: FilterTextRecipe) -> DocumentReason | None:
    return None if recipe.fineweb is None else reason_of_fineweb(SplitText(text), recipe.fineweb)


def filter_part(part: Part, draft: PartDraft, reader: TextReader, recipe: FilterTextRecipe) -> None:
    """Judge the documents of one part, in `verdicts.parquet` and `columns.parquet`."""
    table = reader.read_table(part.name, ["sample_id", "text", "url"])
    judged: list[JudgedText] = []
    for text in table["text"].to_pylist():
        judged.append(judge_text(text, recipe))
        draft.progress(len(judged))
    verdicts = verdict_table(table["sample_id"], judged)
    write_table(verdicts, draft.path(VERDICTS_FILE))
    write_table(given_columns(judged), draft.path(COLUMNS_FILE))
    draft.count(balance_of(verdicts))
    removed = sum((one.removed for one in judged if one.removed), Counter[RemovedLine]())
    facts = RemovedLinesFacts(
        num_changed=sum(one.changed_text is not None for one in judged),
        removed_lines={why.value: removed[why] for why in RemovedLine if removed[why]},
    )
    draft.fact(**facts.dump(), **examples_of(verdicts.append_column("text", table["text"]), SHOWN, first_row=None))
    keep_profile(draft, with_columns(table, verdicts), part.name, len(reader.parts))


def verdict_table(sample_ids: pa.ChunkedArray, judged: Sequence[JudgedText]) -> pa.Table:
    """The table `verdicts.parquet`: a row for each document, with its language where it was asked for."""
    import pyarrow as pa

    columns = {"sample_id": sample_ids, **verdict_columns([one.reason for one in judged])}
    return pa.table(columns | _language_columns(judged))


def given_columns(judged: Sequence[JudgedText]) -> pa.Table:
    """The table `columns.parquet`: texts that changed, null for all others, and languages."""
    import pyarrow as pa

    texts = pa.array([one.changed_text for one in judged], pa.string())
    return pa.table({"text": texts} | _language_columns(judged))


def _language_columns(judged: Sequence[JudgedText]) -> dict[str, pa.Array]:
    import pyarrow as pa

    languages = [one.language for one in judged]
    return {
        "language": pa.array([one and one.code for one in languages], pa.string()),
        "language_score": pa.array([one and one.score for one in languages], pa.float32()),
    }


@stage(number=1, recipe=FilterTextRecipe, makes=KeptTexts, phases=("judge", PROFILE_PHASE), part_by_part="raw")
def filter_text(recipe: FilterTextRecipe, raw: TextDocuments | KeptTexts, *, ctx: StageContext) -> None:
    """Judge all documents of `raw`, a part for each of its parts."""
    _check_languages(recipe.languages)
    reader = TextReader(raw)
    records = ctx.spread(partial(filter_part, reader=reader, recipe=recipe), over=reader.parts_to_judge, phase="judge")
    subject = ProfileSubject(
        title=f"filter_text of {raw.stage}/{raw.short}",
        items="documents",
        limits={"language_score": [("min_language_score", recipe.min_language_score)] if recipe.languages else []},
        measure_of={DocumentReason.LANGUAGE.value: "language_score"},
    )
    draw_profile(ctx, records, subject)
    facts = [RemovedLinesFacts.of(record) for record in records]
    removed = Counter[str]()
    for one in facts:
        removed.update(one.removed_lines)
    ctx.report(
        {"documents_changed": sum(one.num_changed for one in facts)}
        | {f"lines_removed_{why}": number for why, number in sorted(removed.items())}
    )
    check_losses(records, recipe.max_share_lost, items="documents")


def _check_languages(languages: Sequence[str]) -> None:
    """Raise `StageError` for a language that no document can have."""
    unknown = [code for code in languages if code not in known_languages()] if languages else []
    if unknown:
        known = ", ".join(sorted(known_languages()))
        raise StageError(f"the model knows no language {unknown[0]!r}; `languages` takes codes among {known}")
