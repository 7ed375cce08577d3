"""Film scenes: a pure function of their name, held-out combinations apart, answers that frames as a set do not give."""

from collections import Counter

import pytest

from stages.toy_world.films.film_scene import (
    FILM_KINDS,
    NUM_SECONDS,
    SIZE_PX,
    THEMES,
    FilmKind,
    FilmScene,
    film_scene,
    is_heldout,
)

TRAIN = [film_scene(7, "train", number) for number in range(1200)]
HELDOUT = [film_scene(7, "heldout", number) for number in range(360)]


def looks(scene: FilmScene) -> tuple[str, str, str, str]:
    return scene.kind, scene.theme, scene.colour, scene.shape


def test_seed_set_and_number_each_change_the_scene() -> None:
    assert film_scene(7, "train", 1) == film_scene(7, "train", 1)
    assert len({film_scene(7, "train", 1), film_scene(8, "train", 1), film_scene(7, "heldout", 1), TRAIN[4]}) == 4


@pytest.mark.parametrize("kind", ["move", "swell"])
def test_no_held_out_combination_is_trained_on(kind: FilmKind) -> None:
    trained = {looks(scene) for scene in TRAIN if scene.kind == kind}
    heldout = {looks(scene) for scene in HELDOUT if scene.kind == kind}
    assert trained
    assert heldout
    assert trained.isdisjoint(heldout)
    assert all(is_heldout(7, kind, one[1:]) for one in heldout)


@pytest.mark.parametrize("kind", FILM_KINDS)
def test_each_theme_of_held_out_films_is_as_frequent(kind: FilmKind) -> None:
    counts = Counter(scene.theme for scene in HELDOUT if scene.kind == kind)
    assert set(counts) == set(THEMES[kind])
    assert len(set(counts.values())) == 1


def test_the_frames_that_are_taken_show_what_is_asked_about() -> None:
    for scene in (*TRAIN[:300], *HELDOUT):
        shown = [scene.shown_at(second) for second in range(NUM_SECONDS)]
        colours = [actor.colour for actor in shown if actor is not None]
        if scene.kind == "parade":
            assert list(dict.fromkeys(colours)) == scene.theme.split()
        elif scene.kind == "swell":
            boxes = [scene.actors[0].box_at(second) for second in range(NUM_SECONDS)]
            sides = [box[2] - box[0] for box in boxes if box is not None]
            assert sides == sorted(sides, reverse=scene.theme == "shrink")
            assert max(sides) > 2 * min(sides)


def test_shapes_stay_inside_the_picture() -> None:
    for scene in TRAIN[:300]:
        for seconds in scene.times_seconds():
            actor = scene.shown_at(seconds)
            box = None if actor is None else actor.box_at(seconds)
            assert box is None or (min(box) >= -2 and max(box) <= SIZE_PX + 2)


def test_a_move_goes_where_its_theme_says() -> None:
    ways = {"left up": (-1, -1), "left down": (-1, 1), "right up": (1, -1), "right down": (1, 1)}
    for scene in TRAIN[:300]:
        if scene.kind == "move":
            [actor] = scene.actors
            moved = [(end > start) - (end < start) for start, end in zip(actor.start, actor.end, strict=True)]
            assert tuple(moved) == ways[scene.theme]
