"""C4's rules take out the lines that they name, keep paragraphs apart, and drop what is no text."""

import pytest

from stages.text_quality.c4 import C4Rules, RemovedLine, apply_c4
from stages.text_quality.reasons import DocumentReason

FIVE = "The river is wide. The bridge is old. Nobody crosses it now. It was built in winter. It still stands."


def test_lines_go_for_their_reason_and_paragraphs_stay() -> None:
    text = (
        f"Menu\n\n{FIVE}\n\nShare this\n\n\nPlease turn on JavaScript to go on.\nThis site uses cookies for all.\n"
        f"{'x' * 1001} is a word.\nIt was seen.[1] It was [citation needed] new."
    )
    left = apply_c4(text, C4Rules())
    assert left.reason is None
    assert left.text == f"{FIVE}\n\nIt was seen. It was  new."
    assert left.kept == [FIVE, "It was seen. It was  new."]
    assert left.removed == {
        RemovedLine.FEW_WORDS: 2,
        RemovedLine.JAVASCRIPT: 1,
        RemovedLine.POLICY: 1,
        RemovedLine.LONG_WORD: 1,
    }


def test_a_text_without_such_lines_stays_as_it_is() -> None:
    text = f"  {FIVE}\n\n\n\n{FIVE}\n"
    left = apply_c4(text, C4Rules())
    assert left.text == text and not left.removed and left.reason is None


def test_a_line_without_punctuation_goes_where_that_is_asked() -> None:
    text = f"{FIVE}\nA title of four words\nIt goes on and on..."
    assert apply_c4(text, C4Rules()).kept == text.split("\n")
    left = apply_c4(text, C4Rules(lines_end_in_punctuation=True))
    assert left.kept == [FIVE] and left.removed == {RemovedLine.NO_PUNCTUATION: 2}


@pytest.mark.parametrize(
    ("text", "rules", "reason"),
    [
        (FIVE, C4Rules(), None),
        (FIVE.rpartition(" It")[0], C4Rules(), DocumentReason.TOO_FEW_SENTENCES),
        (FIVE.rpartition(" It")[0], C4Rules(min_sentences=4), None),
        ("", C4Rules(), DocumentReason.TOO_FEW_SENTENCES),
        ("a b", C4Rules(min_sentences=0), DocumentReason.NOTHING_LEFT),
        (f"{FIVE}\nLorem Ipsum dolor sit amet.", C4Rules(), DocumentReason.LOREM_IPSUM),
        (f"{FIVE}\nLorem Ipsum dolor sit amet.", C4Rules(drop_lorem_ipsum=False), None),
        (f"{FIVE}\nif (a) {{ return; }}", C4Rules(), DocumentReason.CURLY_BRACKET),
        (f"{FIVE}\nif (a) {{ return; }}", C4Rules(drop_curly_bracket=False), None),
        (f"{FIVE}\n}} {{", C4Rules(), None),
        (
            f"{FIVE}\nThat is Darned good, he said.",
            C4Rules(banned_words=("darn", "darned")),
            DocumentReason.BANNED_WORD,
        ),
        (f"{FIVE}\nThat is undarned wool, he said.", C4Rules(banned_words=("darn", "darned")), None),
    ],
)
def test_documents_go_for_their_reason(text: str, rules: C4Rules, reason: DocumentReason | None) -> None:
    assert apply_c4(text, rules).reason is reason
