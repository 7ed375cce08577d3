"""Published scores: of benchmarks that are read here, in percent or points, and where papers overlap, in order."""

from typing import get_args

from stages.benchmarks.benchmark import BenchmarkName
from stages.benchmarks.catalog import BENCHMARKS
from stages.benchmarks.published import POINTS, published_scores


def test_scores_are_percentages_but_for_points() -> None:
    found = {name: published_scores(name) for name in get_args(BenchmarkName)}
    assert sum(map(bool, found.values())) >= 20
    for name, scores in found.items():
        assert all(30 < score < 100 for score in scores.values()) or name in POINTS
    assert {name: BENCHMARKS[name].overall for name in POINTS} == {"mme": "points"}


def test_numbers_of_the_papers() -> None:
    assert published_scores("mmbench") == {
        "NEO 2B": 76.0, "NEO 2B again": 76.2, "NEO 9B": 82.1, "NEO-ov 2B": 80.0, "NEO-ov 9B": 85.1,
    }  # fmt: skip
    assert published_scores("mme") == {"NEO 2B again": 1565.7}
    assert published_scores("no_such") == {} == published_scores("vsi_bench")
