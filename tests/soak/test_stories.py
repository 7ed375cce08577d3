"""Stories have names, say what they are, and a name that is none is refused before anything starts."""

import subprocess
import sys

from tests.soak.scenes import CANCELLED_IN, LOSSES


def test_each_story_has_a_name_of_its_own_and_says_what_it_is() -> None:
    stories = [*LOSSES, *CANCELLED_IN]
    assert len({story.name for story in stories}) == len(stories)
    assert all(story.act.__doc__ for story in stories)


def test_a_name_that_is_none_is_refused_with_those_there_are() -> None:
    typed = [sys.executable, "-m", "tests.soak.stories", "gang_wait"]
    done = subprocess.run(typed, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "no story is called gang_wait" in done.stderr and "gang_waits" in done.stderr
