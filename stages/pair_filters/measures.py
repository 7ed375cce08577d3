"""Measures of pairs that are taken only where they are asked for: of captions, and of the pictures themselves.

Owns the recipe fields that ask for them, the columns in which they are stored beside verdicts, and what they have
against a pair. A pair that is dropped for its row is not measured. A rule that names a column of `MEASURES` has it
measured, with or without a limit.

Captions cost some milliseconds where their language is asked for. Pictures are read from the store, each once, and
decoded at a reduced size, 1 to 5 ms each beside the time of reading: a part of 10,000 pairs reads all of its tar.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from pydantic import Field, field_validator

from neo_model.inputs.pictures import PictureError
from stages.contract import Recipe, StageError
from stages.formats.pairs import Pair, PairReader
from stages.pair_filters.captions import repeated_share
from stages.pair_filters.pictures import measure_picture
from stages.pair_filters.rule_engine import RuleEngine
from stages.pair_filters.rules import check_syntax
from stages.text_quality.language import known_languages, language_of

if TYPE_CHECKING:
    import pyarrow as pa

MEASURES: Final[Mapping[str, str]] = {
    "caption_language": "string",
    "caption_language_score": "double",
    "caption_repetition": "double",
    "picture_contrast": "int16",
    "picture_entropy_bits": "double",
    "picture_sharpness": "double",
}
"""Measure to the type of its column in the table of verdicts."""
LANGUAGE_MEASURES: Final = frozenset(("caption_language", "caption_language_score"))
LIMITS: Final[Mapping[str, str]] = {
    "languages": "caption_language",
    "max_caption_repetition": "caption_repetition",
    "min_contrast": "picture_contrast",
    "min_entropy_bits": "picture_entropy_bits",
    "min_sharpness": "picture_sharpness",
}
"""Field of `MeasureFields` to the measure that it limits."""
PICTURE_MEASURES: Final = frozenset(name for name in MEASURES if name.startswith("picture_"))
REPETITION_DIGITS: Final = 3
"""Decimal places of the repetition of a caption."""
SHA256: Final = re.compile(r"[0-9a-f]{64}")
LANGUAGE_CODE: Final = re.compile(r"[a-z]{2,3}")

MeasureFault: TypeAlias = Literal[
    "placeholder",
    "language_unwanted",
    "caption_repetitive",
    "picture_unreadable",
    "one_colour",
    "low_entropy",
    "blurred",
]
"""What the measures of a pair may have against it; the reasons of the filter are spelled so."""


class MeasureFields(Recipe):
    """Limits on what captions and pictures measure, and rules of the user's own."""

    languages: tuple[str, ...] = ()
    """Languages of captions that are kept, as ISO 639-1 codes such as ("en", "de"); () asks for none. A caption
    that is too short to tell is kept."""
    min_language_score: float = Field(default=0.8, ge=0, le=1)
    """Probability from which the language of a caption counts; one that is told with less is kept."""
    max_caption_repetition: float | None = Field(default=None, ge=0, le=1)
    """Largest share of a caption's runs of three words that stand in it before, judged from ten words on; left out, it
    is not measured. 0.5 drops `thank you. thank you. ...` alone."""
    min_contrast: int | None = Field(default=None, ge=0, le=255)
    """Smallest difference in levels of grey, of 255, between the darkest and the brightest pixels of the picture, a
    hundredth of them at each end left out; left out, it is not measured. 8 drops pictures of one colour."""
    min_entropy_bits: float | None = Field(default=None, ge=0, le=8)
    """Smallest entropy of the picture's levels of grey, in bits, of 8; left out, it is not measured. 1.5 drops signs
    and lines on plain ground; photographs have 5 to 8."""
    min_sharpness: float | None = Field(default=None, ge=0)
    """Smallest variance of the picture's Laplacian at a reduced size, in squared levels of grey; left out, it is not
    measured. 10 drops what is blurred as a whole; sharp photographs have some hundred to thousand."""
    placeholders: tuple[str, ...] = ()
    """sha256 of pictures that stand for others, such as "image removed", 64 hex digits each, as the column `sha256` of
    the sample table has them."""
    rules: dict[str, str] = Field(default_factory=dict)
    """Name of a reason to an expression of SQL over the columns of the sample table: a pair that meets it is dropped
    for that reason, such as {"stock_photo": "caption ILIKE '%stock photo%'"}. Where it is null it does not apply, which
    is counted."""

    @field_validator("rules")
    @classmethod
    def _check_rules(cls, rules: dict[str, str]) -> dict[str, str]:
        check_syntax(rules)
        return rules

    @field_validator("languages")
    @classmethod
    def _check_languages(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        if bad := [one for one in codes if not LANGUAGE_CODE.fullmatch(one)]:
            raise ValueError(f"{bad[0]!r} is no code of a language: two or three small letters, such as 'en'")
        return codes

    @field_validator("placeholders")
    @classmethod
    def _check_placeholders(cls, digests: tuple[str, ...]) -> tuple[str, ...]:
        if bad := [one for one in digests if not SHA256.fullmatch(one)]:
            raise ValueError(f"{bad[0]!r} is no sha256: 64 digits of 0 to 9 and a to f")
        return digests


@dataclass(slots=True)
class PairMeasures:
    """What one pair measures. A measure that was not asked for is None."""

    caption_language: str | None = None
    """Code of the most likely language of its caption; None also where the caption is too short to tell."""
    caption_language_score: float | None = None
    """Probability of that language."""
    caption_repetition: float | None = None
    """Share of the caption's runs of three words that stand in it before."""
    picture_contrast: int | None = None
    """Levels of grey between the darkest and the brightest pixels."""
    picture_entropy_bits: float | None = None
    """Entropy of the levels of grey, in bits."""
    picture_sharpness: float | None = None
    """Variance of the Laplacian, in squared levels of grey."""
    is_placeholder: bool = False
    """Whether its picture is one of the recipe's `placeholders`."""
    is_unreadable: bool = False
    """Whether its picture was to be measured and does not decode."""


def measures_asked(fields: MeasureFields) -> frozenset[str]:
    """The measures that limits or rules ask for, as `MEASURES` calls them."""
    asked = {measure for limit, measure in LIMITS.items() if _is_set(fields, limit)}
    if fields.rules:
        with RuleEngine() as engine:
            for name, expression in fields.rules.items():
                asked |= {column.lower() for column in engine.columns_named(name, expression)} & MEASURES.keys()
    if "caption_language" in asked:
        asked.add("caption_language_score")
    return frozenset(asked)


def fault_of_measures(pair: PairMeasures, fields: MeasureFields) -> MeasureFault | None:
    """The first thing that the measures of a pair have against it; None finds nothing."""
    is_told = pair.caption_language is not None and not _is_over(fields.min_language_score, pair.caption_language_score)
    faults: tuple[tuple[bool, MeasureFault], ...] = (
        (pair.is_placeholder, "placeholder"),
        (bool(fields.languages) and is_told and pair.caption_language not in fields.languages, "language_unwanted"),
        (_is_over(pair.caption_repetition, fields.max_caption_repetition), "caption_repetitive"),
        (pair.is_unreadable, "picture_unreadable"),
        (_is_over(fields.min_contrast, pair.picture_contrast), "one_colour"),
        (_is_over(fields.min_entropy_bits, pair.picture_entropy_bits), "low_entropy"),
        (_is_over(fields.min_sharpness, pair.picture_sharpness), "blurred"),
    )
    return next((fault for holds, fault in faults if holds), None)


def measure_pairs(
    pairs: Sequence[Pair],
    asked: Collection[str],
    fields: MeasureFields,
    reader: PairReader,
    report: Callable[[int], None],
) -> list[PairMeasures]:
    """Measure pairs of one part; `report` is called with how many pictures are through.

    Raises `StoreError` where a picture is not as it was committed: a verdict would be committed for good.
    """
    measured = [PairMeasures() for _ in pairs]
    placeholders = {bytes.fromhex(digest) for digest in fields.placeholders}
    for pair, measures in zip(pairs, measured, strict=True):
        measures.is_placeholder = pair.image.sha256 in placeholders
        if not LANGUAGE_MEASURES.isdisjoint(asked):
            told = language_of(pair.caption)
            measures.caption_language, measures.caption_language_score = told or (None, None)
        if "caption_repetition" in asked:
            measures.caption_repetition = round(repeated_share(pair.caption), REPETITION_DIGITS)
    if PICTURE_MEASURES.isdisjoint(asked):
        return measured
    of_pictures = [(pair, one) for pair, one in zip(pairs, measured, strict=True) if not one.is_placeholder]
    pictures = reader.images.together([pair.image for pair, _ in of_pictures], ahead=True)
    for number, ((_, measures), data) in enumerate(zip(of_pictures, pictures, strict=True)):
        try:
            found = measure_picture(data)
        except PictureError:
            measures.is_unreadable = True
        else:
            measures.picture_contrast, measures.picture_entropy_bits, measures.picture_sharpness = found
        report(number + 1)
    return measured


def measure_columns(measured: Sequence[PairMeasures | None], asked: Collection[str]) -> dict[str, pa.Array]:
    """The columns of the measures that were asked for, a row for each pair; None is one that was not measured."""
    import pyarrow as pa

    return {
        name: pa.array([None if one is None else getattr(one, name) for one in measured], pa.type_for_alias(kind))
        for name, kind in MEASURES.items()
        if name in asked
    }


def count_measures(measured: Sequence[PairMeasures | None], fields: MeasureFields) -> dict[str, dict[str, int]]:
    """Limit that is set to the number of pairs by how it was applied: `applied`, `null`, or `dropped before`."""
    return {
        limit: dict(Counter(_state_of(one, measure) for one in measured))
        for limit, measure in LIMITS.items()
        if _is_set(fields, limit)
    }


def check_languages(fields: MeasureFields) -> None:
    """Raise `StageError` for a language that the model does not know: it would keep no caption."""
    if unknown := sorted(set(fields.languages) - (known_languages() if fields.languages else set())):
        raise StageError(
            f"languages: {unknown[0]!r} is no language that is told; known are {', '.join(sorted(known_languages()))}"
        )


def check_free(found: Sequence[str], asked: Collection[str], where: str) -> None:
    """Raise `StageError` where a table has a column of its own that is called as a measure that is asked for."""
    if taken := sorted(set(asked) & set(found)):
        raise StageError(
            f"{where} has a column {taken[0]!r} of its own, the name of a measure that the recipe asks for: carry it "
            "under another name where the table is read (columns), or leave the measure out"
        )


def _is_set(fields: MeasureFields, limit: str) -> bool:
    return getattr(fields, limit) not in (None, ())


def _state_of(measured: PairMeasures | None, measure: str) -> str:
    if measured is None:
        return "dropped before"
    return "null" if getattr(measured, measure) is None else "applied"


def _is_over(value: float | None, limit: float | None) -> bool:
    return value is not None and limit is not None and value > limit
