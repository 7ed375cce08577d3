"""Which films have which fault: as many of each in every deck, none in held-out films."""

from collections import Counter

from stages.toy_world.films.film_faults import (
    RARE_FILMS,
    USUAL_FILMS,
    FilmOddity,
    film_oddity,
    original_film,
)
from stages.toy_world.oddities import NUM_PER_DECK


def test_every_deck_has_its_faults_and_the_first_the_rare_ones() -> None:
    for deck in range(3):
        numbers = range(deck * NUM_PER_DECK, (deck + 1) * NUM_PER_DECK)
        counts = Counter(film_oddity(7, number) for number in numbers)
        del counts[FilmOddity.PLAIN]
        assert counts == {**USUAL_FILMS, **(RARE_FILMS if deck == 0 else {})}


def test_a_copy_has_a_plain_original() -> None:
    copies = [number for number in range(400) if film_oddity(7, number) is FilmOddity.COPY]
    assert len(copies) == 2
    assert all(film_oddity(7, original_film(7, number)) is FilmOddity.PLAIN for number in copies)
