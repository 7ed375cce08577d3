"""Pairs of pictures: every comparison, winners in turn, held-out pictures among themselves."""

from collections import Counter
from collections.abc import Sequence

from stages.toy_world.comparisons.picture_pairs import SIDES, Comparison, PicturePair, picture_pair, picture_pairs
from stages.toy_world.scene import Scene, scene
from stages.toy_world.world import ToyWorld

WORLD = ToyWorld(num_pairs=48, num_heldout_pairs=48)


def middle(shown: Scene, axis: int) -> float:
    """Where the shapes stand in the mean, from the left (axis 0) or the top (1), as a share of the picture."""
    size_px = (shown.width_px, shown.height_px)[axis]
    return sum(box[axis] + box[axis + 2] for box in shown.shape_boxes) / (2 * len(shown.shape_boxes) * size_px)


def wins(pairs: Sequence[PicturePair], comparison: Comparison) -> Counter[int]:
    return Counter(pair.winner(comparison) for pair in pairs if comparison in pair.comparisons)


def test_each_picture_wins_each_comparison_as_often() -> None:
    for pair_set in ("train", "heldout"):
        pairs = [pair for _, pair in picture_pairs(WORLD, pair_set)]
        assert len(pairs) == 48
        assert wins(pairs, "more") == {0: 24, 1: 24}
        assert wins(pairs, "further_left") == wins(pairs, "higher") == {0: 12, 1: 12}


def test_the_winner_has_more_shapes_or_has_them_further_left_or_higher() -> None:
    for _, pair in picture_pairs(WORLD, "train"):
        winner, loser = (pair.scenes[place] for place in (pair.winner("more"), 1 - pair.winner("more")))
        assert len(winner.shape_boxes) > len(loser.shape_boxes)
        [comparison] = set(pair.comparisons) & set(SIDES)
        axis = ("further_left", "higher").index(comparison)
        best = pair.winner(comparison)
        assert middle(pair.scenes[best], axis) < middle(pair.scenes[1 - best], axis)


def test_the_two_pictures_have_other_colours_by_which_they_are_called() -> None:
    assert all(len({shown.colour for shown in pair.scenes}) == 2 for _, pair in picture_pairs(WORLD, "train"))


def test_held_out_pairs_are_of_held_out_pictures() -> None:
    pair = picture_pair(WORLD, "heldout", 5)
    assert pair is not None
    assert pair.scenes == tuple(scene(7, "heldout", number) for number in pair.numbers)


def test_a_small_world_has_few_pairs_or_none() -> None:
    small = ToyWorld(num_train_images=9, num_heldout_images=1)
    assert len(list(picture_pairs(small, "train"))) <= 6
    assert list(picture_pairs(small, "heldout")) == []
