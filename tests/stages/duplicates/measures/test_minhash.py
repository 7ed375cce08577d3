"""Texts have a key in common with the probability that follows from how alike they are."""

import numpy as np
import pytest

from stages.duplicates.measures import words as words_file
from stages.duplicates.measures.minhash import NUM_BANDS, band_keys, runs_of, values_per_band
from stages.duplicates.measures.words import TEXTS_AT_ONCE, run_batches


def pairs_of_texts(likeness: float, num_pairs: int) -> list[str]:
    """Texts of 60 different runs of words, in pairs that have this share of their runs in common."""
    chance, texts, num_runs = np.random.default_rng(0), [], 60
    num_common = round(2 * num_runs * likeness / (1 + likeness))
    for _ in range(num_pairs):
        words = [f"w{number}" for number in chance.integers(0, 10**9, num_runs + 2)]
        others = [f"v{number}" for number in chance.integers(0, 10**9, num_runs + 2)]
        texts += [" ".join(words), " ".join(words[: num_common + 2] + others[num_common + 2 :])]
    return texts


def likeness_of(one: str, other: str) -> float:
    first, second = set(runs_of(one, 3)), set(runs_of(other, 3))
    return len(first & second) / len(first | second)


def share_found(texts: list[str], likeness: float) -> float:
    keys = band_keys(texts, likeness, run_words=3)
    return float((keys[::2] == keys[1::2]).any(axis=1).mean())


@pytest.mark.parametrize("asked", [0.6, 0.8])
def test_more_alike_ones_are_found_and_less_alike_ones_are_not(asked: float) -> None:
    num_values = values_per_band(asked)
    for likeness in (asked - 0.25, asked, asked + 0.15):
        texts = pairs_of_texts(likeness, 300)
        real = np.array([likeness_of(*pair) for pair in zip(texts[::2], texts[1::2], strict=True)])
        expected = float((1 - (1 - real**num_values) ** NUM_BANDS).mean())
        assert abs(share_found(texts, asked) - expected) < 0.1
    assert share_found(pairs_of_texts(asked + 0.15, 300), asked) > 0.85
    assert share_found(pairs_of_texts(asked - 0.25, 300), asked) < 0.1


def test_equal_texts_have_all_keys_in_common_and_bands_none() -> None:
    texts = ["A red cat sits here", "a RED cat  sits, here!", "short", "Short.", "", "..."]
    keys = band_keys(texts, 1.0, run_words=3)
    assert (keys[0] == keys[1]).all() and (keys[2] == keys[3]).all()
    assert not keys[4:].any()
    assert len(np.unique(keys[:4])) == 2 * NUM_BANDS


def test_a_text_has_its_keys_in_any_company() -> None:
    texts = [f"text number {number} of many, {number * 7} more words" for number in range(TEXTS_AT_ONCE + 5)]
    together = band_keys(texts, 0.8, run_words=3)
    assert (together[[3, TEXTS_AT_ONCE + 2]] == band_keys([texts[3], texts[TEXTS_AT_ONCE + 2]], 0.8, run_words=3)).all()


def test_batches_are_bounded_by_their_words_and_change_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["", *(" ".join(f"w{number * 100 + word}" for word in range(number % 50)) for number in range(300))]
    whole = band_keys(texts, 0.8, run_words=3)
    monkeypatch.setattr(words_file, "RUNS_AT_ONCE", 100)
    sizes = [sum(map(len, runs)) for _, runs in run_batches(texts, lambda text: runs_of(text, 3))]
    assert len(sizes) > 50 and max(sizes) < 100 + 50
    assert (band_keys(texts, 0.8, run_words=3) == whole).all()


def test_keys_are_known() -> None:
    """Another machine, or another version of a library, must find the same: artifacts are named by it."""
    assert band_keys(["a red cat sits on the mat"], 0.8, run_words=3)[0, :2].tolist() == KNOWN


KNOWN = [10826363839515259549, 756881131298980693]
