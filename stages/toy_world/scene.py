"""What a toy picture shows: a pure function of (seed, scene set, number). `draw.py` draws it.

One to three shapes of one colour stand in a band along one side of the picture; the rest holds a short word in large
type. A scene is a combination of five attributes, and one combination in five (a Latin slice: the attribute indices
sum to the seed modulo 5) is shown in held-out pictures only. Each answer is equally frequent over the slice, so
guessing scores exactly `guess_rate(kind)`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Literal, TypeAlias

from stages.toy_world.random_streams import generator

QuestionKind: TypeAlias = Literal["colour", "shape", "position", "count", "word"]
SceneSet: TypeAlias = Literal["train", "heldout", "told"]
"""The set that a scene belongs to. Scenes of `told` are described in the text-only corpus and never drawn."""
Point: TypeAlias = tuple[int, int]
ShapeBox: TypeAlias = tuple[int, int, int, int]

QUESTION_KINDS: tuple[QuestionKind, ...] = ("colour", "shape", "position", "count", "word")
ANSWERS: dict[QuestionKind, tuple[str, ...]] = {
    "colour": ("red", "green", "blue", "yellow", "black"),
    "shape": ("circle", "square", "triangle", "cross", "ring"),
    "position": ("left", "right", "top", "bottom"),
    "count": ("one", "two", "three"),
    "word": ("sun", "fly", "key", "dog", "box"),
}
"""The possible answers to each kind of question."""

SIZES_PX = ((160, 160), (160, 160), (224, 160), (160, 224), (152, 168))
"""Widths and heights, 25 to 35 visual tokens of 32 x 32 px; the last is resized before it is cut into patches.

The others are odd multiples of 32: the word then lies at the same offset from the grid of tokens in all of them, and a
small model learns to read it in a fifth of the optimizer steps that it needs otherwise.
"""
BAND_PX = 64
"""Width of the band in which the shapes stand, in pixels."""
SIDES_PX = (36, 42)
"""Smallest and largest side of a shape, in pixels."""
MAX_JITTER_PX = 2
"""Largest random shift of a shape or word in each direction, in pixels."""
NUM_SLOTS = 3
"""Slots for shapes along the band; a scene of two shapes fills two of them."""

NUM_LATIN_CLASSES = 5
NUM_HELDOUT_COMBINATIONS = 300


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture: the five attributes that are asked about, and where everything stands, in pixels."""

    colour: str
    shape: str
    position: str
    count: str
    word: str
    width_px: int
    height_px: int
    shape_boxes: tuple[ShapeBox, ...]
    """Left, top, right and bottom edge of each shape, in pixels."""
    word_centre: Point
    """Centre of the word, in pixels."""
    tint: tuple[int, int, int]
    """Colour of the background, light."""
    shade: int
    """Offset that is added to each channel of shapes and type."""
    quality: int
    """JPEG quality."""

    def answer(self, kind: QuestionKind) -> str:
        """The right answer to a question of this kind."""
        return str(getattr(self, kind))


def guess_rate(kind: QuestionKind) -> float:
    """Accuracy of guessing at questions of this kind about held-out pictures."""
    return 1 / len(ANSWERS[kind])


def scene(seed: int, scene_set: SceneSet, number: int) -> Scene:
    """The scene of picture `number`. A held-out combination of attributes is never in a training picture."""
    rng = generator(seed, "scene", scene_set, number)
    if scene_set == "heldout":
        order = _heldout_order(seed)
        combination = order[number % len(order)]
    else:
        combination = _train_combination(seed, rng)
    return _placed(combination, rng)


def is_heldout(seed: int, combination: tuple[str, ...]) -> bool:
    """Whether this combination of attributes, in the order of `QUESTION_KINDS`, is held out."""
    indices = (ANSWERS[kind].index(answer) for kind, answer in zip(QUESTION_KINDS, combination, strict=True))
    return sum(indices) % NUM_LATIN_CLASSES == seed % NUM_LATIN_CLASSES


def _train_combination(seed: int, rng: random.Random) -> tuple[str, ...]:
    while True:
        combination = tuple(rng.choice(ANSWERS[kind]) for kind in QUESTION_KINDS)
        if not is_heldout(seed, combination):
            return combination


@lru_cache(maxsize=8)
def _heldout_order(seed: int) -> tuple[tuple[str, ...], ...]:
    combinations = [c for c in product(*(ANSWERS[kind] for kind in QUESTION_KINDS)) if is_heldout(seed, c)]
    generator(seed, "heldout order").shuffle(combinations)
    return tuple(combinations)


def _placed(combination: tuple[str, ...], rng: random.Random) -> Scene:
    colour, shape, position, count, word = combination
    width_px, height_px = rng.choice(SIZES_PX)
    slots = rng.sample(range(NUM_SLOTS), ANSWERS["count"].index(count) + 1)
    centres = [_centre(position, slot, width_px, height_px) for slot in sorted(slots)]
    return Scene(
        colour=colour,
        shape=shape,
        position=position,
        count=count,
        word=word,
        width_px=width_px,
        height_px=height_px,
        shape_boxes=tuple(_box_around(centre, rng) for centre in centres),
        word_centre=_jittered(_word_centre(position, width_px, height_px), rng),
        tint=(rng.randint(225, 255), rng.randint(225, 255), rng.randint(225, 255)),
        shade=rng.randint(-15, 15),
        quality=rng.randint(85, 95),
    )


def _centre(position: str, slot: int, width_px: int, height_px: int) -> Point:
    """The middle of one slot in the band."""
    long_px = height_px if position in {"left", "right"} else width_px
    pitch_px = 64 if long_px >= 3 * 64 else 48
    along = long_px // 2 + (slot - 1) * pitch_px
    middle = BAND_PX // 2
    return {
        "left": (middle, along),
        "right": (width_px - middle, along),
        "top": (along, middle),
        "bottom": (along, height_px - middle),
    }[position]


def _word_centre(position: str, width_px: int, height_px: int) -> Point:
    """The middle of the area beside the band."""
    beyond = {"left": (BAND_PX, 0), "right": (-BAND_PX, 0), "top": (0, BAND_PX), "bottom": (0, -BAND_PX)}[position]
    return (width_px + beyond[0]) // 2, (height_px + beyond[1]) // 2


def _box_around(centre: Point, rng: random.Random) -> ShapeBox:
    side = rng.randint(*SIDES_PX)
    x, y = _jittered(centre, rng)
    left, top = x - side // 2, y - side // 2
    return left, top, left + side, top + side


def _jittered(point: Point, rng: random.Random) -> Point:
    return (
        point[0] + rng.randint(-MAX_JITTER_PX, MAX_JITTER_PX),
        point[1] + rng.randint(-MAX_JITTER_PX, MAX_JITTER_PX),
    )
