"""Recall at k is that of a plain loop over every picture and caption, in blocks of any size, with equal ones merged."""

from math import isclose

import numpy as np
import pytest

from stages.evaluation.intervals import wilson_interval
from stages.evaluation.retrieval import recall
from stages.evaluation.retrieval.recall import recalls, sides_of


def unit(rng: np.random.Generator, number: int) -> np.ndarray:
    vectors = rng.normal(size=(number, 8)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def world(num_pairs: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pictures with one or several captions, some of them of two pictures; every number stands at least once."""
    rng = np.random.default_rng(seed)
    pictures = rng.permutation(
        np.concatenate((np.arange(num_pairs // 2), rng.integers(0, num_pairs // 2, num_pairs // 2)))
    )
    captions = rng.permutation(np.concatenate((np.arange(num_pairs - 9), rng.integers(0, num_pairs - 9, 9))))
    return (
        pictures,
        captions[: len(pictures)] if num_pairs % 2 else captions,
        unit(rng, num_pairs // 2),
        unit(rng, num_pairs - 9),
    )


def plain(
    pictures: np.ndarray, captions: np.ndarray, of_pictures: np.ndarray, of_captions: np.ndarray, k: int
) -> float:
    """R@k of captions for pictures, a picture at a time."""
    hits = 0
    for picture in range(len(of_pictures)):
        right = {caption for one, caption in zip(pictures, captions, strict=True) if one == picture}
        order = sorted(range(len(of_captions)), key=lambda caption: -float(of_pictures[picture] @ of_captions[caption]))
        hits += bool(right & set(order[:k]))
    return hits / len(of_pictures)


@pytest.mark.parametrize("block", [1, 500, 2**24])
def test_like_a_plain_loop(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "BLOCK_SCORES", block)
    pictures, captions, of_pictures, of_captions = world(80)
    numbers = recalls(*sides_of(pictures, captions, of_pictures, of_captions), trained=None)
    assert (numbers["num_retrieval_pictures"], numbers["num_retrieval_captions"]) == (40, 71)
    assert "trained_for_retrieval" not in numbers
    for k in (1, 5, 10):
        expected = plain(pictures, captions, of_pictures, of_captions, k)
        assert numbers[f"image_to_text_r{k}"] == expected
        assert numbers[f"text_to_image_r{k}"] == plain(captions, pictures, of_captions, of_pictures, k)
        assert numbers[f"image_to_text_r{k}_low"] <= expected < numbers[f"image_to_text_r{k}_high"]


def test_what_is_alike_gets_nothing_right() -> None:
    """Of equal similarity the wrong one is nearer: a constant model has R@1 of 0."""
    same = np.ones((20, 4), np.float32) / 2
    numbers = recalls(*sides_of(np.arange(20), np.arange(20), same, same), trained=False)
    assert numbers["image_to_text_r1"] == numbers["text_to_image_r10"] == 0
    assert numbers["trained_for_retrieval"] == 0
    assert isclose(numbers["chance_image_to_text_r5"], 5 / 20)


def test_a_perfect_model_is_right_and_its_interval_is_wilson_s() -> None:
    vectors = np.eye(30, dtype=np.float32)
    numbers = recalls(*sides_of(np.arange(30), np.arange(30), vectors, vectors), trained=True)
    assert numbers["image_to_text_r1"] == numbers["text_to_image_r1"] == 1
    low, high = wilson_interval(30, 30)
    assert numbers["image_to_text_r1_low"] == pytest.approx(low) and numbers["image_to_text_r1_high"] == high
    assert numbers["trained_for_retrieval"] == 1


def test_chance_is_that_of_a_random_order() -> None:
    pictures, captions, of_pictures, of_captions = world(60, seed=3)
    numbers = recalls(*sides_of(pictures, captions, of_pictures, of_captions), trained=None)
    rng = np.random.default_rng(5)
    drawn = [
        recalls(*sides_of(pictures, captions, unit(rng, 30), unit(rng, 51)), trained=None)["text_to_image_r5"]
        for _ in range(60)
    ]
    assert np.mean(drawn) == pytest.approx(numbers["chance_text_to_image_r5"], abs=0.02)


def test_fewer_candidates_than_k_are_all_found() -> None:
    vectors = np.eye(3, dtype=np.float32)
    numbers = recalls(*sides_of(np.arange(3), np.arange(3), vectors, -vectors), trained=None)
    assert numbers["image_to_text_r1"] == 0 and numbers["image_to_text_r5"] == numbers["chance_image_to_text_r5"] == 1


@pytest.mark.parametrize("num_broken", [1, 200])
def test_vectors_that_are_no_numbers_find_nothing(num_broken: int) -> None:
    vectors = np.eye(200, dtype=np.float32)
    broken = vectors.copy()
    broken[:num_broken] = np.nan
    numbers = recalls(*sides_of(np.arange(200), np.arange(200), broken, vectors), trained=None)
    found = (200 - num_broken) / 200
    assert numbers["image_to_text_r1"] == numbers["image_to_text_r10"] == found
    assert numbers["text_to_image_r1"] == 0, "whatever is NaN is nearer than the right one"
