"""Gopher's rules at their limits, and beside datatrove's verdicts on the same documents."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.text_quality.c4 import C4Rules, apply_c4
from stages.text_quality.fineweb import FineWebQuality, reason_of_fineweb
from stages.text_quality.gopher import GopherQuality, GopherRepetition, reason_of_quality, reason_of_repetition
from stages.text_quality.reasons import DocumentReason
from stages.text_quality.split_text import SplitText
from tests.worlds.text_world import document

PROSE = "The teacher of the village had to walk to the old bridge with her letter and be back that morning. "
GOOD = PROSE * 3
THEIRS = json.loads((Path(__file__).parent / "datatrove_verdicts.json").read_text())
"""What datatrove's filters said of the first documents of `tests/worlds/text_world.py`: filter, reason in our words,
numbers of the documents that it drops for it."""
FILTERS: dict[str, Callable[[str], DocumentReason | None]] = {
    "quality": lambda text: reason_of_quality(SplitText(text), GopherQuality()),
    "repetition": lambda text: reason_of_repetition(SplitText(text), GopherRepetition()),
    "c4": lambda text: apply_c4(text, C4Rules()).reason,
    "c4_strict": lambda text: apply_c4(text, C4Rules(lines_end_in_punctuation=True)).reason,
    "fineweb": lambda text: reason_of_fineweb(SplitText(text), FineWebQuality()),
}


@pytest.mark.parametrize("name", FILTERS)
def test_verdicts_are_those_of_datatrove_but_for_what_is_a_word(name: str) -> None:
    """At most 2% differ, where a count is a word beside its limit; of each reason that both give many documents."""
    num_documents = THEIRS["num_documents"]
    theirs: dict[int, str] = {
        number: reason for reason, numbers in THEIRS["verdicts"][name].items() for number in numbers
    }
    ours = {number: FILTERS[name](document(number)) for number in range(num_documents)}
    different = {n: (theirs.get(n), why and why.value) for n, why in ours.items() if theirs.get(n) != why}
    assert len(different) <= 0.02 * num_documents, different
    assert len(theirs) > 50 and len(set(theirs.values())) >= 3


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (None, GOOD),
        (DocumentReason.TOO_FEW_WORDS, PROSE * 2),
        (DocumentReason.WORDS_TOO_SHORT, "a to be of it " * 12),
        (DocumentReason.WORDS_TOO_LONG, GOOD.replace(" of the ", "ofthe" * 20)),
        (DocumentReason.TOO_MANY_HASHES, GOOD.replace(" the", " # the").replace(" to", " # to")),
        (DocumentReason.TOO_MANY_ELLIPSES, GOOD.replace(" the", "... the").replace(" to", "\u2026 to")),
        (DocumentReason.TOO_MANY_BULLETS, "\n".join(f"- {line}" for line in [PROSE] * 10)),
        (DocumentReason.TOO_MANY_CUT_LINES, "\n".join(f"{PROSE.strip()[:-1]}..." for _ in range(4))),
        (DocumentReason.TOO_FEW_LETTERS, GOOD + "1234 " * 20),
        (DocumentReason.TOO_FEW_STOP_WORDS, "Nobody walks along quiet rivers during winter mornings. " * 8),
    ],
)
def test_quality(reason: DocumentReason | None, text: str) -> None:
    assert reason_of_quality(SplitText(text), GopherQuality()) is reason


def test_a_limit_that_is_left_out_asks_nothing() -> None:
    text = "# ... 1 2 3\n" * 40
    lenient = GopherQuality(
        min_words=0, max_words=None, min_mean_word_chars=0, max_mean_word_chars=None, max_symbol_share=None,
        max_bullet_lines=None, max_cut_lines=None, min_letter_share=0, min_stop_words=0,
    )  # fmt: skip
    assert reason_of_quality(SplitText(text), GopherQuality()) is not None
    assert reason_of_quality(SplitText(text), lenient) is None
    assert reason_of_quality(SplitText(""), lenient) is None
    assert reason_of_quality(SplitText(GOOD), GopherQuality(max_words=50)) is DocumentReason.TOO_MANY_WORDS


def numbered(first: int, number: int) -> list[str]:
    """Lines of which no two have a word in common."""
    return [" ".join(f"w{line}x{word}" for word in range(12)) for line in range(first, first + number)]


RUN = {n: " ".join(f"r{word:02d}" for word in range(n)) for n in range(2, 11)}
"""A run of n words that nothing else holds."""


def with_runs(n: int, number: int, num_lines: int) -> str:
    """A text of different words in which a run of n words stands so many times."""
    lines = numbered(0, num_lines)
    return "\n".join([*lines, *(f"{RUN[n]} s{line}" for line in range(number))])


def with_pairs_of_runs(n: int, number: int) -> str:
    """A text of different words in which different runs of n words stand twice each."""
    runs = [" ".join(f"q{run}x{word}" for word in range(n)) for run in range(number)]
    return "\n".join(
        [*numbered(0, 20 - n - n // 10), *(f"{run} {end}{n}" for end in "ef" for n, run in enumerate(runs))]
    )


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (None, "\n\n".join(numbered(0, 10))),
        (DocumentReason.REPEATED_PARAGRAPHS, "\n\n".join(numbered(0, 6) + numbered(0, 3))),
        (
            DocumentReason.REPEATED_PARAGRAPH_CHARS,
            "\n\n".join([*numbered(0, 2), "a b c", "d e", "f g", *numbered(0, 1)]),
        ),
        (DocumentReason.REPEATED_LINES, "\n".join([*numbered(0, 20), *["a b"] * 11])),
        (DocumentReason.REPEATED_LINE_CHARS, "\n".join(numbered(0, 10) + numbered(0, 4))),
        (DocumentReason.FREQUENT_2_GRAM, with_runs(2, 40, 8)),
        (DocumentReason.FREQUENT_3_GRAM, with_runs(3, 20, 12)),
        (DocumentReason.FREQUENT_4_GRAM, with_runs(4, 15, 14)),
        (DocumentReason.REPEATED_5_GRAMS, with_pairs_of_runs(5, 13)),
        (DocumentReason.REPEATED_6_GRAMS, with_pairs_of_runs(6, 9)),
        (DocumentReason.REPEATED_7_GRAMS, with_pairs_of_runs(7, 7)),
        (DocumentReason.REPEATED_8_GRAMS, with_pairs_of_runs(8, 5)),
        (DocumentReason.REPEATED_9_GRAMS, with_pairs_of_runs(9, 3)),
        (DocumentReason.REPEATED_10_GRAMS, with_pairs_of_runs(10, 2)),
    ],
)
def test_repetition(reason: DocumentReason | None, text: str) -> None:
    assert reason_of_repetition(SplitText(text), GopherRepetition()) is reason


@pytest.mark.parametrize("n", range(2, 11))
def test_each_length_of_run_has_a_limit_of_its_own(n: int) -> None:
    text = with_runs(10, 6, 20)
    names = [f"max_frequent_{k}_gram" for k in (2, 3, 4)] + [f"max_repeated_{k}_grams" for k in range(5, 11)]
    limits = dict.fromkeys(names, 1.0)
    assert reason_of_repetition(SplitText(text), GopherRepetition(**limits)) is None
    name = names[n - 2]
    found = reason_of_repetition(SplitText(text), GopherRepetition(**limits | {name: 0.01}))
    assert found is not None and found.value == name.removeprefix("max_")


def test_an_empty_text_repeats_nothing() -> None:
    assert reason_of_repetition(SplitText(""), GopherRepetition()) is None
