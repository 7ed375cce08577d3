"""Versions of two machines: the same, or the difference in words."""

import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from cluster.versions import BEYOND_RAY, OLDEST_RAY, Versions, mismatch_in_words, ray_refusal

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_the_versions_of_this_process_are_those_installed() -> None:
    here = Versions.here()
    assert here.ray == version("ray")
    assert here.python == f"{sys.version_info.major}.{sys.version_info.minor}"


def test_each_difference_is_one_phrase_this_place_first() -> None:
    here = Versions(python="3.11", ray="2.60.0", package="0.1.0")
    there = here.model_copy(update={"python": "3.12", "package": "0.2.0"})
    assert here.differences(here) == []
    assert here.differences(there) == ["Python 3.11 here, 3.12 there", "neo-pipelines 0.1.0 here, 0.2.0 there"]


def test_the_range_of_ray_is_the_one_that_is_installed_by() -> None:
    lines = map(Requirement, tomllib.loads(PROJECT.read_text())["project"]["dependencies"])
    (wanted,) = (line.specifier for line in lines if line.name == "ray")
    assert OLDEST_RAY in wanted and BEYOND_RAY not in wanted and f"<{BEYOND_RAY}" in str(wanted)
    assert ray_refusal(OLDEST_RAY) == ray_refusal() == ""


@pytest.mark.parametrize("ray", ["2.58.1", "2.61.0", "3.0.0.dev0", "not installed"])
def test_a_ray_outside_the_range_is_named_with_the_range_and_a_remedy(ray: str) -> None:
    said = ray_refusal(ray)
    assert f"Ray is {ray} here" in said and OLDEST_RAY in said and "pip install 'ray[default,train]>=" in said


def test_only_the_error_about_versions_is_put_in_words() -> None:
    assert mismatch_in_words("Failed to connect to GCS at 10.0.0.1:6379") == ""
