"""With a takedown on record, a table that is added is fetched, and so are the rows of a second retry."""

import pytest

from tests.pipelines.commands.test_takedown import Downloaded, run
from tests.worlds.flaky_web import FlakyWeb

__all__ = ["run"]  # a fixture

MORE = """

def more():
    recipe = DownloadPairsRecipe(
        source=Source("urls"), allow_hosts=("127.0.0.1",), num_tries=1, deadline_seconds=8, num_urls_per_part=10
    )
    added = recipe.model_copy(update={"source": Source("added")})
    return download_pairs.bind("added", added, download_pairs.bind("pairs", recipe))
"""


def asked_of(web: FlakyWeb) -> int:
    return sum(web.asked.values())


@pytest.mark.parametrize("is_held", [False, True], ids=["of nobody", "of the first table"])
def test_a_table_that_is_added_after_a_takedown_is_fetched(run: Downloaded, is_held: bool) -> None:
    run.take_down(run.url(11) if is_held else "https://nobody.example/a.jpg")
    with (run.folder / "sources.toml").open("a") as sources:
        sources.write('[added]\nuri = "added.parquet"\n')
    run.web.table(run.folder / "added.parquet", 7, first=100)
    with (run.folder / "pipeline.py").open("a") as file:
        file.write(MORE)
    before = asked_of(run.web)
    told = run.site.neo("run", run.pipeline.replace(":own", ":more"))
    assert told.code == 0, told
    assert asked_of(run.web) - before >= 7, "each row of the added table was asked for"
    items = run.site.neo("show", "more/added", "--json").json["items"]
    assert items["kept"] + sum(items["dropped"].values()) + sum(items["failed"].values()) == 47
    assert items["dropped"].get("taken_down", 0) == int(is_held)


def test_a_second_retry_after_a_takedown_fetches_its_rows(run: Downloaded) -> None:
    run.web.is_mended.clear()
    first = run.site.neo("retry", "own/pairs", "--reasons", "transient")
    assert first.code == 0, first
    run.take_down("https://nobody.example/a.jpg")
    run.web.mend()
    before = asked_of(run.web)
    again = run.site.neo("retry", "own/pairs_retry1", "--reasons", "transient", "--json")
    assert again.code == 0, again
    assert asked_of(run.web) > before, "the row that failed twice is asked for a third time"
    items = run.site.neo("show", "own/pairs_retry2", "--json").json["items"]
    assert not items["failed"].get("server_error") and items["kept"] == 36
