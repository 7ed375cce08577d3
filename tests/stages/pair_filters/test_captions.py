"""Captions that say nothing, and captions that say the same again and again."""

import pytest

from stages.pair_filters.captions import repeated_share, says_nothing


@pytest.mark.parametrize("caption", ["", " ... ", "---", "VID_0042.MP4", "clips/a.webm"])
def test_no_words_or_the_name_of_a_file_say_nothing(caption: str) -> None:
    assert says_nothing(caption)


@pytest.mark.parametrize("caption", ["a dog", "赤い犬", "see VID_0042.MP4"])
def test_words_say_something(caption: str) -> None:
    assert not says_nothing(caption)


def test_repetition_is_the_share_of_runs_of_words_that_stood_before() -> None:
    assert repeated_share("thank you. " * 5) == 0.75
    assert repeated_share("a man walks to the door and then a woman opens it slowly") == 0.0
    assert repeated_share("谢谢你" * 10) > 0.8
    assert repeated_share("一个男人走到门口然后一个女人慢慢地打开门") < 0.1


def test_short_captions_are_not_judged() -> None:
    assert repeated_share("go go go go go go go go go") == 0.0
