"""The rows about films: they fit together, and held-out films are asked about and never conversed about."""

from stages.toy_world.addresses import film_address_of
from stages.toy_world.films.film_faults import FilmOddity, film_oddity, original_film
from stages.toy_world.films.film_records import (
    film_conversations,
    film_questions,
    film_rows,
    heldout_film_rows,
    shown_film,
)
from stages.toy_world.films.film_scene import film_scene
from stages.toy_world.world import ToyWorld

WORLD = ToyWorld(num_films=210, num_heldout_films=12)
HOST = "http://toy.invalid"


def test_each_film_has_one_conversation() -> None:
    listed = [row["video"] for row in film_rows(WORLD)]
    assert len(set(listed)) == WORLD.num_films
    talks = list(film_conversations(WORLD))
    assert [talk["video"] for talk in talks] == listed
    assert all(talk["messages"][0]["content"].startswith("<video>\n") for talk in talks)


def test_held_out_films_are_asked_about_and_never_trained_on() -> None:
    heldout = {row["video"] for row in heldout_film_rows(WORLD)}
    questions = list(film_questions(WORLD))
    assert {url for question in questions for url in question["videos"]} == heldout
    assert heldout.isdisjoint(row["video"] for row in film_rows(WORLD))
    assert all(question["messages"][-1]["content"] == question["answer"] for question in questions)


def test_a_url_leads_back_to_its_film() -> None:
    for number, row in enumerate(film_rows(WORLD)):
        address = film_address_of(row["video"].removeprefix(HOST))
        assert address is not None
        assert (address.film_set, address.number) == ("train", number)


def test_the_rows_of_a_copy_tell_of_its_original() -> None:
    copy = next(number for number in range(210) if film_oddity(7, number) is FilmOddity.COPY)
    assert shown_film(7, copy) == film_scene(7, "train", original_film(7, copy))
