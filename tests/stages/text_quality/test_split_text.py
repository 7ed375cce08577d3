"""Words, lines and sentences are those that a reader would count, in scripts with and without spaces."""

import pytest

from stages.text_quality.split_text import SplitText, ends_sentence, num_sentences


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("It's 3.5 m...", ["It", "'s", "3.5", "m", "..."]),
        ("We don't - they do!", ["We", "don", "'t", "-", "they", "do", "!"]),
        ("See https://example.org/a?b=c.", ["See", "https://example.org/a?b=c", "."]),
        ("the U.S. in 1,000 days", ["the", "U.S.", "in", "1,000", "days"]),
        ("well-known file_name.txt (new)", ["well", "-", "known", "file_name.txt", "(", "new", ")"]),
        ("赤い犬 lies", ["赤", "い", "犬", "lies"]),
        ("-----\n== a", ["-----", "=", "=", "a"]),
        ("naïve Straße", ["naïve", "Straße"]),
        ("", []),
    ],
)
def test_words_and_marks(text: str, tokens: list[str]) -> None:
    assert SplitText(text).tokens == tokens


def test_words_have_a_letter_or_a_digit() -> None:
    assert SplitText("-- It's 3.5 m... (ok)").words == ["It", "'s", "3.5", "m", "ok"]


def test_lines_and_paragraphs() -> None:
    split = SplitText("one\ntwo\n \n\nthree\n")
    assert split.lines == ["one", "two", " ", "", "three", ""]
    assert split.filled_lines == ["one", "two", "three"]
    assert SplitText("a\nb\n\n\nc").paragraphs == ["a\nb", "c"]


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("One. Two! Three?", 3),
        ('He said "no." Then he went', 2),
        ("It costs 3.50 at example.org", 1),
        ("Wait... what?", 2),
        ("犬がいる。猫もいる。", 2),
        ("", 0),
        ("   ", 0),
    ],
)
def test_sentences_of_a_line(line: str, number: int) -> None:
    assert num_sentences(line) == number


@pytest.mark.parametrize(("line", "ends"), [("a.", True), ("a!?", True), ("犬。", True), ("a;", False), ("", False)])
def test_a_line_that_ends_a_sentence(line: str, ends: bool) -> None:
    assert ends_sentence(line) is ends


def test_the_marks_are_those_of_unicode() -> None:
    import regex

    terminal = regex.compile(r"\p{Sentence_Terminal}")
    wrong = [chr(code) for code in range(0x10000) if ends_sentence(chr(code)) and not terminal.match(chr(code))]
    missing = [chr(code) for code in range(0x10000) if terminal.match(chr(code)) and not ends_sentence(chr(code))]
    assert wrong == []
    # A leader, forms for vertical writing, and marks of Coptic, Balinese and Cypriot that ancient texts have.
    left_out = "\u1b4e\u1b4f\u1b7f\u2024\u2cf9\u2cfa\u2cfb\u2e60\u2e61\ufe12\ufe15\ufe16"
    assert set(missing) <= {*left_out}
