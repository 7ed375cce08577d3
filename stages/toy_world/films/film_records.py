"""The rows of the tables about films: which films there are, conversations about them, held-out questions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from stages.toy_world.addresses import FilmAddress
from stages.toy_world.films.film_faults import FilmOddity, film_oddity, original_film
from stages.toy_world.films.film_language import (
    TEMPORAL_QUESTIONS,
    film_caption,
    film_dialogue,
    temporal_answer,
    temporal_kinds,
)
from stages.toy_world.films.film_scene import FilmScene, FilmSet, film_scene
from stages.toy_world.random_streams import generator
from stages.toy_world.world import ToyWorld

FilmRecord: TypeAlias = dict[str, Any]

VIDEO_LINE = "<video>\n"


def shown_film(seed: int, number: int) -> FilmScene:
    """The scene that the server shows for training film `number`: its own, or its original's for a copy."""
    if film_oddity(seed, number) is FilmOddity.COPY:
        return film_scene(seed, "train", original_film(seed, number))
    return film_scene(seed, "train", number)


def film_rows(world: ToyWorld) -> Iterator[FilmRecord]:
    """The table of training films: `video` (a URL) and `caption`."""
    return (_row(world, "train", number, shown_film(world.seed, number)) for number in range(world.num_films))


def heldout_film_rows(world: ToyWorld) -> Iterator[FilmRecord]:
    """The same of held-out films, which have no faults."""
    for number in range(world.num_heldout_films):
        yield _row(world, "heldout", number, film_scene(world.seed, "heldout", number))


def film_conversations(world: ToyWorld) -> Iterator[FilmRecord]:
    """A conversation about each training film: `id`, `video`, `messages`."""
    for number in range(world.num_films):
        messages = film_dialogue(shown_film(world.seed, number), generator(world.seed, "film conversation", number))
        messages[0] = {**messages[0], "content": VIDEO_LINE + messages[0]["content"]}
        url = FilmAddress(world.seed, "train", number).url
        yield {"id": f"film-{number:06d}", "video": url, "messages": messages}


def film_questions(world: ToyWorld) -> Iterator[FilmRecord]:
    """Each question that the order of frames answers, about every held-out film; the last message is the answer."""
    for number in range(world.num_heldout_films):
        scene = film_scene(world.seed, "heldout", number)
        for kind in temporal_kinds(scene):
            answer = temporal_answer(scene, kind)
            yield {
                "id": f"heldout-film-{number:06d}-{kind}",
                "images": [],
                "videos": [FilmAddress(world.seed, "heldout", number).url],
                "messages": [
                    {"role": "user", "content": VIDEO_LINE + TEMPORAL_QUESTIONS[kind]},
                    {"role": "assistant", "content": answer},
                ],
                "kind": kind,
                "answer": answer,
            }


def _row(world: ToyWorld, film_set: FilmSet, number: int, scene: FilmScene) -> FilmRecord:
    return {"video": FilmAddress(world.seed, film_set, number).url, "caption": film_caption(scene)}
