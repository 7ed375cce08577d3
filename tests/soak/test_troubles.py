"""The troubles of a soak: a seed draws the same ones, and each says what it is."""

import random

from tests.soak.troubles import TROUBLES, drawn


def test_the_same_seed_draws_the_same_troubles() -> None:
    chances = random.Random(7), random.Random(7)
    one, other = ([drawn(chance).__name__ for _ in range(200)] for chance in chances)
    assert one == other
    assert set(one) == {trouble.__name__ for trouble in TROUBLES}


def test_each_trouble_says_what_it_is() -> None:
    assert all(trouble.__doc__ for trouble in TROUBLES)
