"""A room with two shapes on its floor, seen from two places: a pure function of (seed, set, number).

One shape stands at one, two or three steps from the first place and the other a step behind it, in another column. The
second place is half a step closer or further away, so near shapes change more than far ones. One combination in five (a
Latin slice) is shown in held-out rooms only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Literal, TypeAlias

from stages.toy_world.random_streams import generator
from stages.toy_world.scene import ANSWERS, NUM_LATIN_CLASSES

RoomSet: TypeAlias = Literal["train", "heldout"]
SpatialKind: TypeAlias = Literal["left_of", "nearer", "how_far", "step"]

SPATIAL_KINDS: tuple[SpatialKind, ...] = ("left_of", "nearer", "how_far", "step")
STEPS = ("closer", "away")
"""Where the viewer steps between the two pictures."""

WIDTH_PX, HEIGHT_PX = 128, 96
"""Size of a view: 12 visual tokens of 32 x 32 px."""
MAX_SHIFT = 0.1
"""Largest random shift of the first place, in steps."""
STEP_LENGTHS = (0.7, 0.85)
"""Shortest and longest way between the two places, in steps."""


@dataclass(frozen=True, slots=True)
class RoomShape:
    """One shape on the floor."""

    shape: str
    colour: str
    column: int
    """0 for the left, 1 for the middle, 2 for the right."""
    distance: int
    """Steps from the first place: 1 to 4."""


@dataclass(frozen=True, slots=True)
class RoomScene:
    """One room and the two places that it is seen from."""

    shapes: tuple[RoomShape, RoomShape]
    """The one that is asked about, and the one that it is compared with: another colour, column and distance."""
    step: str
    """Where the second place lies from the first."""
    places: tuple[float, float]
    """How far each place lies behind the middle of the first, in steps."""
    wall: tuple[int, int, int]
    floor: tuple[int, int, int]
    shade: int
    """Offset that is added to each channel of shapes."""
    quality: int
    """JPEG quality."""

    def answer(self, kind: SpatialKind) -> str:
        """The right answer to a question of this kind."""
        one, other = self.shapes
        match kind:
            case "left_of":
                return min(one, other, key=lambda shape: shape.column).colour
            case "nearer":
                return min(one, other, key=lambda shape: shape.distance).colour
            case "how_far":
                return str(min(one.distance, other.distance))
            case "step":
                return self.step


def room_scene(seed: int, room_set: RoomSet, number: int) -> RoomScene:
    """Room `number` of a set. A held-out combination of colours and shapes is never in a training room."""
    rng = generator(seed, "room", room_set, number)
    layouts = _layouts(seed, room_set)
    (columns, distances, step) = layouts[number % len(layouts)] if room_set == "heldout" else rng.choice(layouts)
    combinations = _combinations(seed, room_set)
    looks = combinations[number % len(combinations)] if room_set == "heldout" else rng.choice(combinations)
    shapes = tuple(
        RoomShape(shape, colour, column, distance)
        for (colour, shape), column, distance in zip((looks[:2], looks[2:]), columns, distances, strict=True)
    )
    first = rng.uniform(-MAX_SHIFT, MAX_SHIFT)
    return RoomScene(
        shapes=(shapes[0], shapes[1]),
        step=step,
        places=(first, first + rng.uniform(*STEP_LENGTHS) * (1 if step == "away" else -1)),
        wall=(rng.randint(220, 250), rng.randint(220, 250), rng.randint(220, 250)),
        floor=(rng.randint(170, 205), rng.randint(170, 205), rng.randint(170, 205)),
        shade=rng.randint(-15, 15),
        quality=rng.randint(85, 95),
    )


def is_heldout(seed: int, looks: tuple[str, str, str, str]) -> bool:
    """Whether the colour and shape of one and the colour and shape of the other are held out together."""
    choices = (ANSWERS["colour"], ANSWERS["shape"]) * 2
    indices = (names.index(name) for names, name in zip(choices, looks, strict=True))
    return sum(indices) % NUM_LATIN_CLASSES == seed % NUM_LATIN_CLASSES


@lru_cache(maxsize=16)
def _combinations(seed: int, room_set: RoomSet) -> tuple[tuple[str, str, str, str], ...]:
    """Colour and shape of one and of the other shape, in random order; the colours differ."""
    chosen = [
        looks
        for looks in product(ANSWERS["colour"], ANSWERS["shape"], ANSWERS["colour"], ANSWERS["shape"])
        if looks[0] != looks[2] and is_heldout(seed, looks) == (room_set == "heldout")
    ]
    generator(seed, "room order", room_set).shuffle(chosen)
    return tuple(chosen)


@lru_cache(maxsize=16)
def _layouts(seed: int, room_set: RoomSet) -> tuple[tuple[tuple[int, int], tuple[int, int], str], ...]:
    """Columns, distances and step in random order: 72 in all, in which every answer is as frequent."""
    pairs = list(product(range(3), repeat=2))
    columns = [(one, other) for one, other in pairs if one != other]
    distances = [order for near in (1, 2, 3) for order in ((near, near + 1), (near + 1, near))]
    chosen = list(product(columns, distances, STEPS))
    generator(seed, "room layouts", room_set).shuffle(chosen)
    return tuple(chosen)
