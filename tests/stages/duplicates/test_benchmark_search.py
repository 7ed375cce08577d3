"""Texts are searched for words of benchmarks batch after batch: memory does not follow how many there are."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from stages.duplicates.benchmark_marks import KINDS, BenchmarkMarks
from stages.duplicates.benchmark_search import MarkFiles, in_benchmarks
from stages.duplicates.measures import words as words_file
from stages.duplicates.measures.words import run_digests, words_of

QUESTIONS = {"first": "how many red cats sit on the mat", "second": "what colour is the small bird"}
NUM_WORDS = 4


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> MarkFiles:
    """Marks of two benchmarks; the second one's are those of a table, and a picture."""
    ones = sorted(
        (mark, number)
        for number, text in enumerate(QUESTIONS.values())
        for mark in run_digests(words_of(text), NUM_WORDS)
    )
    nothing = (np.empty(0, np.uint64), np.empty(0, np.int16))
    words = (np.array([mark for mark, _ in ones], np.uint64), np.array([number for _, number in ones], np.int16))
    urls = (np.array([7], np.uint64), np.array([1], np.int16))
    by_kind = {kind: {"words": words, "url": urls}.get(kind, nothing) for kind in KINDS}
    marks = BenchmarkMarks(
        {kind: one for kind, (one, _) in by_kind.items()}, {kind: one for kind, (_, one) in by_kind.items()},
        list(QUESTIONS), 3,
    )  # fmt: skip
    monkeypatch.setattr(MarkFiles, "load", lambda self: marks)
    return MarkFiles(
        store_url="", entries=(), names=tuple(QUESTIONS), kinds=("url", "words"), max_bits=3, num_words=NUM_WORDS
    )


def test_rows_are_in_the_benchmark_of_the_surest_mark_or_of_the_first_words(files: MarkFiles) -> None:
    texts = [
        "nothing of it", "", "so, HOW many red cats?", "the colour? what colour is the one",
        "what colour is the; how many red cats", "how many red cats",
    ]  # fmt: skip
    digests = {"url": pa.array([None, None, None, 8, None, 7], pa.uint64())}
    names, kinds = in_benchmarks(files, digests, texts)
    assert names == [None, None, "first", "second", "second", "second"]
    assert kinds == [None, None, "words", "words", "words", "url"]


def test_memory_does_not_grow_with_the_number_of_texts(files: MarkFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def peak(num_texts: int) -> int:
        texts = [" ".join(f"w{number}" for number in range(2000))] * num_texts
        tracemalloc.start()
        in_benchmarks(files, {"url": pa.nulls(num_texts, pa.uint64())}, texts)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    monkeypatch.setattr(words_file, "RUNS_AT_ONCE", 5000)
    peak(1)
    assert peak(100) < 1.5 * peak(5)
