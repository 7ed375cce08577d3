"""Lineage backward, and the old spellings of forward, rows and seen samples, which name the new commands."""

import pytest

from tests.pipelines.conftest import TOYS, NeoSite

DATA, WHOLE = f"{TOYS}:data", f"{TOYS}:whole"
URL = "http://toy.invalid/5.jpg"


@pytest.fixture
def made(site: NeoSite) -> NeoSite:
    assert site.neo("run", DATA).code == 0
    return site


def test_the_lanes_of_a_lineage_do_not_break_on_a_wide_screen(made: NeoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    told = made.neo("trace", "data/rows").out
    assert [line[0] for line in told.splitlines()[1:5]] == ["○", "●", "●", "●"]
    assert "rows depends on 3 artifacts. External inputs:" in told


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["trace", "--url", URL], ["where", URL]),
        (["trace", "data/kept", "--url", URL], ["where", URL, "--behind", "data/kept"]),
        (["trace", "data/rows", "--row", "2"], ["row", "data/rows", "2"]),
    ],
)
def test_an_old_spelling_answers_as_the_new_one_and_names_it(made: NeoSite, old: list[str], new: list[str]) -> None:
    told, now = made.neo(*old, "--json"), made.neo(*new, "--json")
    assert told.code == now.code == 0
    assert told.json == now.json and now.err == ""
    assert f"Now: neo {' '.join(new)}" in told.err


def test_an_80_column_terminal_shows_names_and_refs_whole(made: NeoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    commands = (["status"], ["show", "data"], ["plan", DATA], ["trace", "data/rows"])
    status, *others = (made.neo(*words).out for words in commands)
    assert not any("…" in table for table in (status, *others))
    assert max(map(len, status.partition("Next:")[0].splitlines()[1:])) <= 80


def test_no_ref_is_refused_by_naming_the_command_that_follows_urls(site: NeoSite) -> None:
    told = site.neo("trace")
    assert told.code == 2 and "neo where" in told.err


def test_a_picture_of_the_lineage_is_drawn_beside_the_table(made: NeoSite) -> None:
    path = made.folder / "lineage.png"
    assert f"Picture: {path}" in made.neo("trace", "data/rows", "--picture", str(path)).out
    assert path.read_bytes().startswith(b"\x89PNG")
