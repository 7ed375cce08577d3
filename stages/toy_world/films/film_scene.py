"""What a toy film shows: a pure function of (seed, set, number). `film_drawing.py` draws it.

There are three kinds of film. In a `move` one shape crosses the picture from one corner to the opposite one. In a
`parade` red, green and blue are shown one after the other, in an order: as one shape that changes its colour, or as
shapes that appear and vanish. In a `swell` one shape grows or shrinks. What is asked cannot be told from the frames as
a set: played backwards, a film has the same frames and another answer. One combination of attributes in five (a Latin
slice) is shown in held-out films only.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations, product
from typing import Literal, TypeAlias, get_args

from stages.toy_world.random_streams import generator
from stages.toy_world.scene import ANSWERS, NUM_LATIN_CLASSES, Point, ShapeBox

FilmKind: TypeAlias = Literal["move", "parade", "swell"]
FilmSet: TypeAlias = Literal["train", "heldout"]
Combination: TypeAlias = tuple[str, ...]

FILM_KINDS: tuple[FilmKind, ...] = get_args(FilmKind)
DIRECTIONS = ("left up", "left down", "right up", "right down")
"""Where a shape goes, across and up or down."""
ORDERS = tuple(" ".join(order) for order in permutations(("red", "green", "blue")))
"""Every order of the colours of a parade."""
CHANGES = ("grow", "shrink")
THEMES: dict[FilmKind, tuple[str, ...]] = {"move": DIRECTIONS, "parade": ORDERS, "swell": CHANGES}
"""What is asked about, for each kind of film."""

SIZE_PX = 96
"""Width and height of a film: 9 visual tokens of 32 x 32 px a frame."""
PLACES_PX = (16, 48, 80)
"""Middles of the rows and columns in which shapes stand, in pixels: those of the visual tokens."""
SIDES_PX = (24, 30)
"""Smallest and largest side of a shape that stays as large, in pixels."""
SWELLING_PX = ((12, 16), (40, 48))
"""Smallest and largest side of a shape that grows or shrinks, where it is small and where it is large, in pixels."""
SWELLING_PLACES_PX = (28, 68)
"""Smallest and largest distance of the middle of such a shape from the edges of the picture, in pixels."""
MAX_JITTER_PX = 2
"""Largest random shift of a shape in each direction, in pixels."""
DURATION_SECONDS = 4.25
"""Length of a film: at one frame a second, frames are taken at 0, 1, 2 and 3 seconds."""
NUM_SECONDS = 4
"""Frames that are taken of a film at one frame a second."""
CROSSING_SECONDS = 3.0
"""When a moving shape has arrived."""
TURNS_SECONDS = (0.5, 1.5, 2.5)
"""About when something may change: between two frames that are taken."""
MAX_JITTER_SECONDS = 0.15
"""Largest random shift of a change, in seconds."""


@dataclass(frozen=True, slots=True)
class Actor:
    """One shape in a film, and from when until when it is shown where."""

    shape: str
    colour: str
    side_px: int
    start: Point
    """Its centre at the start of the film, in pixels."""
    end: Point
    """Its centre from `CROSSING_SECONDS` on, in pixels."""
    from_seconds: float = 0.0
    until_seconds: float = DURATION_SECONDS
    end_side_px: int | None = None
    """Its side from `CROSSING_SECONDS` on, in pixels; None where it does not change."""

    def box_at(self, seconds: float) -> ShapeBox | None:
        """Left, top, right and bottom edge in pixels, None while it is not shown."""
        if not self.from_seconds <= seconds < self.until_seconds:
            return None
        done = min(1.0, seconds / CROSSING_SECONDS)
        x, y = (round(start + (end - start) * done) for start, end in zip(self.start, self.end, strict=True))
        end_side_px = self.side_px if self.end_side_px is None else self.end_side_px
        side_px = round(self.side_px + (end_side_px - self.side_px) * done)
        left, top = x - side_px // 2, y - side_px // 2
        return left, top, left + side_px, top + side_px


@dataclass(frozen=True, slots=True)
class FilmScene:
    """One film: what is asked about, and who stands where when."""

    kind: FilmKind
    theme: str
    """The direction of a `move`, the order of a `parade`, the change in a `swell`."""
    shape: str
    """Shape of the only actor, or of the first one."""
    colour: str
    """Colour of the only actor, or of the first one."""
    actors: tuple[Actor, ...]
    tint: tuple[int, int, int]
    """Colour of the background, light."""
    shade: int
    """Offset that is added to each channel of shapes."""
    frames_per_second: int
    """Frames of the film in a second."""

    def times_seconds(self) -> list[float]:
        """When each frame is shown first."""
        return [number / self.frames_per_second for number in range(round(DURATION_SECONDS * self.frames_per_second))]

    def shown_at(self, seconds: float) -> Actor | None:
        """Who is shown at this time; no two are at once."""
        return next((actor for actor in self.actors if actor.box_at(seconds) is not None), None)


def film_scene(seed: int, film_set: FilmSet, number: int) -> FilmScene:
    """Film `number` of a set. The kinds alternate; a held-out combination is never in a training film."""
    kind = FILM_KINDS[number % len(FILM_KINDS)]
    rng = generator(seed, "film", film_set, number)
    order = _combinations(seed, kind, film_set)
    combination = order[number // len(FILM_KINDS) % len(order)] if film_set == "heldout" else rng.choice(order)
    return _staged(kind, combination, rng)


def is_heldout(seed: int, kind: FilmKind, combination: Combination) -> bool:
    """Whether a combination of theme, colour and shape (of a parade: order, column and shape) is held out."""
    values = _attributes(kind)
    indices = (choices.index(value) for choices, value in zip(values, combination, strict=True))
    return sum(indices) % NUM_LATIN_CLASSES == seed % NUM_LATIN_CLASSES


def _attributes(kind: FilmKind) -> tuple[tuple[str, ...], ...]:
    """The choices of each attribute of a combination. A parade has all colours, so its second is where it begins."""
    second = tuple(map(str, PLACES_PX)) if kind == "parade" else ANSWERS["colour"]
    return THEMES[kind], second, ANSWERS["shape"]


@lru_cache(maxsize=32)
def _combinations(seed: int, kind: FilmKind, film_set: FilmSet) -> tuple[Combination, ...]:
    """The combinations of a set in random order. Themes come in turn, so that each is as frequent in any number."""
    wanted = film_set == "heldout"
    chosen = [one for one in product(*_attributes(kind)) if is_heldout(seed, kind, one) == wanted]
    rng = generator(seed, "film order", kind, film_set)
    rng.shuffle(chosen)
    by_theme = [[one for one in chosen if one[0] == theme] for theme in THEMES[kind]]
    return tuple(one for turn in zip(*by_theme, strict=True) for one in turn)


def _staged(kind: FilmKind, combination: Combination, rng: random.Random) -> FilmScene:
    theme, second, shape = combination
    actors = {"move": _moving, "parade": _parading, "swell": _swelling}[kind](theme, second, shape, rng)
    return FilmScene(
        kind=kind,
        theme=theme,
        shape=actors[0].shape,
        colour=actors[0].colour,
        actors=actors,
        tint=(rng.randint(225, 255), rng.randint(225, 255), rng.randint(225, 255)),
        shade=rng.randint(-15, 15),
        frames_per_second=rng.choice((4, 8, 12)),
    )


def _moving(direction: str, colour: str, shape: str, rng: random.Random) -> tuple[Actor, ...]:
    """One shape that crosses the picture from corner to corner: `left up` from (80, 80) to (16, 16)."""
    near, far = PLACES_PX[0], PLACES_PX[-1]
    shift = _shift(rng)
    columns, rows = (((far, near) if way in ("left", "up") else (near, far)) for way in direction.split())
    start, end = (_moved(point, shift) for point in zip(columns, rows, strict=True))
    return (Actor(shape, colour, rng.randint(*SIDES_PX), start, end),)


def _parading(order: str, column: str, shape: str, rng: random.Random) -> tuple[Actor, ...]:
    """Three colours one after the other: one shape that changes its colour, or three that take each other's place."""
    edges = [0.0, *_turns(2, rng), DURATION_SECONDS]
    first, side_px, changes = _place(rng, int(column)), rng.randint(*SIDES_PX), rng.random() < 0.5
    actors = []
    for number, colour in enumerate(order.split()):
        stays = changes or number == 0
        place, form = (first, shape) if stays else (_place(rng), rng.choice(ANSWERS["shape"]))
        actors.append(Actor(form, colour, side_px, place, place, edges[number], edges[number + 1]))
    return tuple(actors)


def _swelling(change: str, colour: str, shape: str, rng: random.Random) -> tuple[Actor, ...]:
    """One shape that grows or shrinks in its place."""
    small, large = (rng.randint(*sides) for sides in SWELLING_PX)
    sides = (small, large) if change == "grow" else (large, small)
    place = rng.randint(*SWELLING_PLACES_PX), rng.randint(*SWELLING_PLACES_PX)
    return (Actor(shape, colour, sides[0], place, place, end_side_px=sides[1]),)


def _turns(number: int, rng: random.Random) -> list[float]:
    """When something changes, rising, in seconds."""
    jitters = (rng.uniform(-MAX_JITTER_SECONDS, MAX_JITTER_SECONDS) for _ in range(number))
    return [turn + jitter for turn, jitter in zip(sorted(rng.sample(TURNS_SECONDS, number)), jitters, strict=True)]


def _place(rng: random.Random, column_px: int | None = None) -> Point:
    x, y = rng.choice(PLACES_PX), rng.choice(PLACES_PX)
    return _moved((x if column_px is None else column_px, y), _shift(rng))


def _shift(rng: random.Random) -> Point:
    return rng.randint(-MAX_JITTER_PX, MAX_JITTER_PX), rng.randint(-MAX_JITTER_PX, MAX_JITTER_PX)


def _moved(point: Point, shift: Point) -> Point:
    return point[0] + shift[0], point[1] + shift[1]
