"""Two pictures of the toy world to be compared: a pure function of (world, set, number).

They never have as many shapes, nor shapes of one colour, by which questions call them; and the shapes of one stand on
the opposite side from those of the other, so that every pair is compared twice.
Held-out pairs are of held-out pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from stages.toy_world.random_streams import generator
from stages.toy_world.records import shown_scene
from stages.toy_world.scene import ANSWERS, Scene, scene
from stages.toy_world.world import ToyWorld

PairSet: TypeAlias = Literal["train", "heldout"]
Comparison: TypeAlias = Literal["more", "further_left", "higher"]

SIDES: dict[Comparison, tuple[str, str]] = {"further_left": ("left", "right"), "higher": ("top", "bottom")}
"""Each comparison of places: the side on which the winner's shapes stand, and that of the other's."""
MAX_TRIES = 300
"""Pairs of pictures that are looked at, at most, until one fits; one in 30 does, unless there are very few pictures."""


@dataclass(frozen=True, slots=True)
class PicturePair:
    """Two pictures that can be compared."""

    numbers: tuple[int, int]
    """Numbers of the two pictures in their set."""
    scenes: tuple[Scene, Scene]

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """What can be asked: how many there are, and where they stand if on opposite sides."""
        positions = {shown.position for shown in self.scenes}
        return ("more", *(kind for kind, sides in SIDES.items() if positions == set(sides)))

    def winner(self, comparison: Comparison) -> int:
        """The picture of which a comparison is true: 0 for the first, 1 for the second."""
        one, other = self.scenes
        if comparison == "more":
            return int(ANSWERS["count"].index(one.count) < ANSWERS["count"].index(other.count))
        return int(other.position == SIDES[comparison][0])


def picture_pairs(world: ToyWorld, pair_set: PairSet) -> Iterator[tuple[int, PicturePair]]:
    """The pairs of a set with their numbers: at most two for three pictures, so that small worlds have few."""
    num_pictures = world.num_train_images if pair_set == "train" else world.num_heldout_images
    num_wanted = world.num_pairs if pair_set == "train" else world.num_heldout_pairs
    for number in range(min(num_wanted, num_pictures * 2 // 3)):
        pair = picture_pair(world, pair_set, number)
        if pair is not None:
            yield number, pair


def picture_pair(world: ToyWorld, pair_set: PairSet, number: int) -> PicturePair | None:
    """Pair `number` of a set. How places are compared, and which picture wins either comparison, alternate.

    None where the world has too few pictures for one.
    """
    rng = generator(world.seed, "pair", pair_set, number)
    num_pictures = world.num_train_images if pair_set == "train" else world.num_heldout_images
    place = tuple(SIDES)[number % len(SIDES)]
    has_more, has_place = number // 2 % 2, number // 4 % 2
    for _ in range(MAX_TRIES):
        one, other = rng.randrange(num_pictures), rng.randrange(num_pictures)
        scenes = _shown(world.seed, pair_set, one), _shown(world.seed, pair_set, other)
        pair = PicturePair((one, other), scenes)
        differs = all(scenes[0].answer(kind) != scenes[1].answer(kind) for kind in ("count", "colour"))
        fits = differs and place in pair.comparisons
        if fits and (pair.winner("more"), pair.winner(place)) == (has_more, has_place):
            return pair
    return None


def _shown(seed: int, pair_set: PairSet, number: int) -> Scene:
    return shown_scene(seed, number) if pair_set == "train" else scene(seed, "heldout", number)
