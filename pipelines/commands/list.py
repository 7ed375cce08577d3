"""`neo list`: the recipes that can be run, the runs there were, and what the names point at."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from cluster.site import Site
from pipelines.commands.output import Answer, JsonOption, SiteOption, find_site
from pipelines.planning.catalog import shipped_pipelines
from pipelines.runs.run import all_runs
from pipelines.screen.console import STYLES, clean
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.store.store import Store


def list_(*, site: SiteOption = "", as_json: JsonOption = False) -> None:
    """List the recipes, the runs of the site's store, and the names that point at artifacts."""
    answer = Answer(as_json=as_json)
    place = find_site(site)
    shipped = shipped_pipelines()
    answer.say(_table(("recipe", "what it makes"), [(name, about) for name, about in shipped.items()]))
    runs, names = _store_contents(place)
    if runs:
        answer.say("", _table(("run", "state", "attempts"), runs))
    if names:
        answer.say("", _table(("name", "artifact"), names))
    answer.say("", f"store {place.store}")
    document = {
        "recipes": shipped,
        "runs": [dict(zip(("run", "state", "attempts"), row, strict=True)) for row in runs],
        "names": dict(names),
        "store": place.store,
    }
    then = f"neo show {runs[-1][0]}" if runs else f"neo plan {next(iter(shipped), 'path/to/file.py:function')}"
    answer.end(document, then=then)


def _store_contents(site: Site) -> tuple[list[tuple[str, str, str]], list[tuple[str, str]]]:
    """Runs with state and number of attempts; names with what they point at."""
    store = Store(site.store)
    if store.folder is not None and not store.folder.is_dir():
        return [], []
    runs: list[tuple[str, str, str]] = [(run.name, run.state(), str(run.num_attempts)) for run in all_runs(store)]
    names = [
        (f"{pipeline}/{step}", f"{ref['stage']}/{ref['fingerprint'][:SHOWN_DIGITS]}")
        for pipeline in store.folders("refs/")
        for step in store.folders(f"refs/{pipeline}/")
        if (ref := store.ref(f"{pipeline}/{step}")) is not None
    ]
    return runs, names


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(*headings, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(clean(cell), STYLES.get(cell, "")) for cell in row))
    return table
