"""`neo diff` tells two runs or artifacts apart, in 80 columns and as JSON; what cannot be compared is refused."""

from tests.pipelines.conftest import TOYS, NeoSite
from tests.pipelines.garbage.stores import two_runs


def test_it_names_what_differs_and_only_that(site: NeoSite) -> None:
    old, new = two_runs(site)
    said = site.on_terminal(80, "diff", old, new)
    assert said.code == 0 and "Of 4 steps: 1 the same, 3 different." in said.out
    assert "min_width_px: 13 -> 15" in said.out and "kept: different" in " ".join(said.out.split())
    assert max(len(line) for line in said.out.splitlines() if not line.startswith("Next:")) <= 80
    told = site.neo("diff", old, new, "--json").json
    assert told["version"] == 1 and (told["a"]["name"], told["b"]["name"]) == (old, new)
    same = site.neo("diff", "data/rows", "data/rows")
    assert "Nothing differs: all 4 steps are the same artifacts." in same.out


def test_two_of_different_kinds_and_what_is_nothing_are_refused(site: NeoSite) -> None:
    old, _ = two_runs(site)
    refused = site.neo("diff", old, "data/rows")
    assert refused.code == 2 and "name two of one kind" in " ".join(refused.err.split())
    assert site.neo("diff", "data/pairs", "data/rows").code == 2
    assert site.neo("diff", "nothing", "data/rows").code == 2


def test_scores_on_the_same_questions_stand_side_by_side(site: NeoSite) -> None:
    for more in ((), ("--set", "llm.width=8")):
        assert site.neo("run", f"{TOYS}:scored", *more).code == 0
    runs = [run["run"] for run in site.neo("list", "--json").json["runs"]]
    told = site.neo("diff", *runs, "--json").json
    assert [one["step"] for one in told["steps"] if one["recipe"]] == ["llm"]
    assert len(told["scores"]) == 1 and told["scores"][0]["numbers"]
    assert "scores on" in site.neo("diff", *runs).out
