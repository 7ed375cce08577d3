"""A stream depends on its seed and name alone, and never changes: all pictures follow from it."""

from stages.toy_world.random_streams import generator


def test_a_stream_begins_as_it_always_did() -> None:
    assert generator(7, "scene", "train", 5).random() == 0.41855056733947926


def test_seed_and_every_part_of_the_name_give_another_stream() -> None:
    streams = [(7, "a", 1), (8, "a", 1), (7, "b", 1), (7, "a", 2), (7, "a")]
    assert len({generator(seed, *name).random() for seed, *name in streams}) == len(streams)
