"""Words by array operations are those of `words_of`, whatever the text; runs of them name the texts that hold them."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.indexes import texts
from pipelines.indexes.texts import RUN_WORDS, words_in, words_of_column
from stages.duplicates.measures.words import words_of

TEXTS = [
    "A RED cat, 2 dogs; 猫と", "", "  ", "Straße_x Café—naïve", "red cat", "a red", "cat 2", None, "x" * 300 + " y z",
    "हिन्दी में वाक्य", "...a.b.c!", "ﬁne ﬁsh", "a\nred\tcat",
]  # fmt: skip


def words_by_row(column: pa.Array | pa.ChunkedArray) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for first, words in words_of_column(column):
        for digest, row in zip(words.digests.tolist(), words.rows.tolist(), strict=True):
            found.setdefault(first + row, []).append(digest)
    return found


@pytest.mark.parametrize("bytes_at_once", [1, 40, 2**22])
def test_a_word_has_one_digest_wherever_it_stands_and_no_other_word_has_it(
    bytes_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "BYTES_AT_ONCE", bytes_at_once)
    column = pa.chunked_array([pa.array(TEXTS[:5], pa.string()), pa.array(TEXTS, pa.string()).slice(5)])
    found, digest_of = words_by_row(column), dict[str, int]()
    for row, text in enumerate(TEXTS):
        for word, digest in zip(words_of(text or ""), found.get(row, []), strict=True):
            assert digest_of.setdefault(word, digest) == digest
    assert len(set(digest_of.values())) == len(digest_of)
    assert words_by_row(pa.array(["all ascii", "", "Red cat"]))[2] == found[4]


@given(st.lists(st.text(alphabet="ab1 ,é猫", max_size=14), max_size=8), st.text(alphabet="ab1 é猫", max_size=9))
def test_the_rows_with_a_sentence_are_those_that_hold_its_words_in_a_row(column: list[str], sentence: str) -> None:
    wanted = words_of(sentence)
    if not wanted:
        return
    asked = words_in(sentence)
    rows = [
        first + row
        for first, words in words_of_column(pa.array(column, pa.string()))
        for row in words.rows_with(asked).tolist()
    ]
    assert rows == [row for row, text in enumerate(column) if holds(words_of(text), wanted)]
    if len(wanted) >= RUN_WORDS:
        for row in rows:
            assert set(asked.runs().tolist()) <= set(words_in(column[row]).runs().tolist())
    else:
        assert not len(asked.runs())


def holds(words: list[str], wanted: list[str]) -> bool:
    return any(words[at : at + len(wanted)] == wanted for at in range(len(words) - len(wanted) + 1))


def test_text_that_is_no_utf_8_counts_as_far_as_it_is() -> None:
    column = pa.array([b"red \xff cat", b"\xe7\x8c"]).view(pa.string())
    assert words_by_row(column)[0] == words_by_row(pa.array(["red cat"]))[0]
