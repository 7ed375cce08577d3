"""Repetition is counted as by a plain search over strings, which these tests hold beside it."""

import random
from collections import Counter

import pytest

from stages.text_quality.repetition import repeated, word_runs


def plain_frequent_chars(words: list[str], n: int) -> int:
    runs = Counter(" ".join(words[place : place + n]) for place in range(len(words) - n + 1))
    run, number = runs.most_common(1)[0]
    return len(run) * number


def plain_repeated_chars(words: list[str], n: int) -> int:
    seen: set[tuple[str, ...]] = set()
    place = chars = 0
    while place <= len(words) - n:
        run = tuple(words[place : place + n])
        if run in seen:
            chars += sum(map(len, run))
            place += n
        else:
            seen.add(run)
            place += 1
    return chars


@pytest.mark.parametrize("seed", range(60))
def test_runs_are_counted_as_by_a_plain_search(seed: int) -> None:
    chance = random.Random(seed)
    vocabulary = [chance.choice("abcdefgh") * chance.randint(1, 4) for _ in range(chance.randint(1, 30))]
    words = [chance.choice(vocabulary) for _ in range(chance.randint(2, 200))]
    if seed % 3 == 0:
        words += words[: len(words) // 2]
    runs = list(word_runs(words, 10))
    assert [one.num_words for one in runs] == list(range(2, min(10, len(words)) + 1))
    for one in runs:
        assert one.frequent_chars() == plain_frequent_chars(words, one.num_words)
        assert one.repeated_chars() == plain_repeated_chars(words, one.num_words)
        assert one.repeated_chars() <= one.most_repeated_chars() <= sum(map(len, words))
        assert one.are_all_different == (one.most_repeated_chars() == 0)


def test_few_words_have_no_runs() -> None:
    assert list(word_runs([], 10)) == list(word_runs(["one"], 10)) == []
    assert [one.num_words for one in word_runs(["a", "b"], 10)] == [2]


def test_repeated_pieces() -> None:
    assert repeated(["ab", "c", "ab", "ab", "d"]) == (2, 4)
    assert repeated([]) == (0, 0)


def test_the_search_is_linear_enough_for_a_document_of_a_million_characters() -> None:
    words = [f"w{number % 5000}" for number in range(150_000)]
    last = list(word_runs(words, 10))[-1]
    assert last.num_words == 10 and last.repeated_chars() == sum(map(len, words[5000:]))
