"""Versions of two machines: the same, or the difference in words."""

import sys
from importlib.metadata import version

from cluster.versions import Versions


def test_the_versions_of_this_process_are_those_installed() -> None:
    here = Versions.here()
    assert here.ray == version("ray")
    assert here.python == f"{sys.version_info.major}.{sys.version_info.minor}"


def test_each_difference_is_one_phrase_this_place_first() -> None:
    here = Versions(python="3.11", ray="2.60.0", package="0.1.0")
    there = here.model_copy(update={"python": "3.12", "package": "0.2.0"})
    assert here.differences(here) == []
    assert here.differences(there) == ["Python 3.11 here, 3.12 there", "neo-pipelines 0.1.0 here, 0.2.0 there"]
