"""Oddities: fixed numbers of each in every deck, a matter of the seed, about one picture in eleven lost."""

from collections import Counter

import pytest

from stages.toy_world.oddities import (
    HARMLESS,
    NUM_PER_DECK,
    RARE,
    USUAL,
    Oddity,
    neighbours,
    oddity,
    original_number,
)


def deck(seed: int, number: int) -> Counter[Oddity]:
    return Counter(oddity(seed, number * NUM_PER_DECK + index) for index in range(NUM_PER_DECK))


@pytest.mark.parametrize("number", [1, 2, 59])
def test_every_deck_holds_the_usual_oddities(number: int) -> None:
    found = deck(7, number)
    del found[Oddity.PLAIN]
    assert found == Counter(USUAL)


def test_the_first_deck_holds_every_oddity() -> None:
    found = deck(7, 0)
    assert set(found) == set(Oddity)
    del found[Oddity.PLAIN]
    assert found == Counter(USUAL) + Counter(RARE)


def test_which_pictures_are_odd_is_a_matter_of_the_seed() -> None:
    odd = [[number for number in range(400) if oddity(seed, number) is not Oddity.PLAIN] for seed in (7, 8)]
    assert odd[0] != odd[1]


def test_one_in_twenty_is_missing_and_eight_to_ten_in_a_hundred_are_lost() -> None:
    numbers = range(12_000)
    found = Counter(oddity(7, number) for number in numbers)
    assert found[Oddity.MISSING] == 0.05 * len(numbers)
    lost = sum(count for odd, count in found.items() if odd not in HARMLESS)
    assert 0.08 * len(numbers) <= lost <= 0.10 * len(numbers)


def test_the_original_of_a_copy_is_plain() -> None:
    copies = [number for number in range(4000) if oddity(7, number) is Oddity.COPY]
    assert len(copies) == 20
    for number in copies:
        assert oddity(7, original_number(7, number)) is Oddity.PLAIN


def test_neighbours_are_the_rest_of_the_deck_nearest_before_first() -> None:
    found = list(neighbours(203))
    assert found[:4] == [202, 201, 200, 204]
    assert sorted([*found, 203]) == list(range(200, 400))
