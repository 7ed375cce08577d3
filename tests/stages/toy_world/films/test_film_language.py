"""What is said about films: answers that turn round with the film, captions and dialogues that agree with them."""

from dataclasses import replace

from stages.toy_world.films.film_language import (
    TEMPORAL_KINDS,
    film_caption,
    film_dialogue,
    temporal_answer,
    temporal_kinds,
)
from stages.toy_world.films.film_scene import film_scene
from stages.toy_world.random_streams import generator

SCENES = [film_scene(7, "train", number) for number in range(60)]


def test_every_kind_of_question_is_asked() -> None:
    assert {kind for scene in SCENES for kind in temporal_kinds(scene)} == set(TEMPORAL_KINDS)


def test_a_film_played_backwards_has_other_answers() -> None:
    pairs = [("left up", "right down"), ("left down", "right up"), ("grow", "shrink")]
    backwards = dict(pairs) | {other: one for one, other in pairs}
    for scene in SCENES:
        theme = backwards.get(scene.theme) or " ".join(reversed(scene.theme.split()))
        turned = replace(scene, theme=theme)
        for kind in temporal_kinds(scene):
            assert temporal_answer(turned, kind) != temporal_answer(scene, kind)


def test_captions_say_what_happens() -> None:
    move, parade, swell = SCENES[:3]
    assert film_caption(move) == f"one {move.colour} {move.shape} goes {move.theme.replace(' ', ' and ')}."
    assert film_caption(parade) == "first {}, then {} and then {}.".format(*parade.theme.split())
    assert swell.theme in film_caption(swell)


def test_dialogues_alternate_and_are_the_same_for_the_same_stream() -> None:
    for scene in SCENES:
        messages = film_dialogue(scene, generator(7, "test"))
        assert [message["role"] for message in messages] == ["user", "assistant"] * (len(messages) // 2)
        assert messages == film_dialogue(scene, generator(7, "test"))
        assert {temporal_answer(scene, kind) for kind in temporal_kinds(scene)} <= {one["content"] for one in messages}
