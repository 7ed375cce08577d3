"""Text about films: captions, and dialogues with questions whose answers lie in the order of the frames."""

from __future__ import annotations

import random
from typing import Literal, TypeAlias, get_args

from stages.toy_world.films.film_scene import FilmKind, FilmScene
from stages.toy_world.language import ChatMessage

TemporalKind: TypeAlias = Literal["sideways", "upright", "first", "last", "size"]

TEMPORAL_KINDS: tuple[TemporalKind, ...] = get_args(TemporalKind)
TEMPORAL_QUESTIONS: dict[TemporalKind, str] = {
    "sideways": "Does it go left or right?",
    "upright": "Does it go up or down?",
    "first": "Which colour is first?",
    "last": "Which colour is last?",
    "size": "Does it grow or shrink?",
}
CAPTIONS: dict[FilmKind, str] = {
    "move": "one {colour} {shape} goes {first} and {second}.",
    "parade": "first {first}, then {second} and then {third}.",
    "swell": "one {colour} {shape}. it does {theme}.",
}


def temporal_kinds(scene: FilmScene) -> tuple[TemporalKind, ...]:
    """The kinds of question that can be asked about a film."""
    match scene.kind:
        case "move":
            return "sideways", "upright"
        case "parade":
            return "first", "last"
        case "swell":
            return ("size",)


def temporal_answer(scene: FilmScene, kind: TemporalKind) -> str:
    """The right answer to a question of this kind."""
    match kind:
        case "first" | "sideways":
            return scene.theme.split()[0]
        case "last" | "upright":
            return scene.theme.split()[-1]
        case _:
            return scene.theme


def film_caption(scene: FilmScene) -> str:
    """What happens in a film, in one or two sentences."""
    first, second, third = (*scene.theme.split(), "", "")[:3]
    words = {"theme": scene.theme, "first": first, "second": second, "third": third}
    return CAPTIONS[scene.kind].format(colour=scene.colour, shape=scene.shape, **words)


def film_dialogue(scene: FilmScene, rng: random.Random) -> list[ChatMessage]:
    """What happens, and how a shape looks that swells, in random order.

    No answer gives another away, so each has to be seen.
    """
    pairs = [(TEMPORAL_QUESTIONS[kind], temporal_answer(scene, kind)) for kind in temporal_kinds(scene)]
    if scene.kind == "swell":
        pairs += [("What colour is it?", scene.colour), ("What shape is it?", scene.shape)]
    rng.shuffle(pairs)
    return [
        message
        for question, answer in pairs
        for message in ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    ]
