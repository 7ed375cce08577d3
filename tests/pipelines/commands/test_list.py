"""`neo list` has the newest run first, with when, how long, by whom, its end and its score."""

import re

from tests.pipelines.conftest import TOYS, NeoSite


def test_runs_are_listed_newest_first_with_what_a_person_asks_of_them(site: NeoSite) -> None:
    for more in (("scored",), ("scored", "--set", "llm.width=8"), ("broken_data",)):
        site.neo("run", f"{TOYS}:{more[0]}", *more[1:])
    runs = site.neo("list", "--json").json["runs"]
    assert [run["pipeline"] for run in runs] == ["broken_data", "scored", "scored"]
    assert [run["began"] for run in runs] == sorted((run["began"] for run in runs), reverse=True)
    assert (
        [run["state"] for run in runs] == ["failed", "done", "done"] and runs[0]["reason"] and runs[0]["best"] is None
    )
    assert runs[1]["best"]["metric"] == "accuracy" and all("@" in run["by"] and run["attempts"] == 1 for run in runs)
    told = site.neo("list")
    assert told.last_line == f"Next: neo show {runs[0]['run']} --site {site.file}"
    row = next(line for line in told.out.splitlines() if line.startswith(runs[1]["run"]))
    assert re.search(r"done +\d{4}-\d\d-\d\d \d\d:\d\d +1 .*evaluate: accuracy 0", row), row
    narrow = site.on_terminal(80, "list").out
    assert runs[1]["run"] in narrow and max(map(len, narrow.partition("Next:")[0].splitlines()[:-1])) <= 80


def test_a_long_history_shows_its_newest_runs_and_counts_the_others(site: NeoSite) -> None:
    from pipelines.running.listed_runs import listed_runs

    for width in (8, 9):
        assert site.neo("run", f"{TOYS}:scored", "--set", f"llm.width={width}").code == 0
    (newest,), num_runs = listed_runs(site.store, 1)
    assert num_runs == 2 and newest.name == site.neo("list", "--json").json["runs"][0]["run"]


def test_a_site_file_that_is_not_there_is_said_in_words_before_anything_is_listed(site: NeoSite) -> None:
    told = site.type_(["list", "--site", "nowhere.toml"])
    assert told.code == 2 and told.out == "" and "there is no site file nowhere.toml; known sites are" in told.err
    assert "Errno" not in told.err
