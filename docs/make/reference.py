"""All generated pages, by their place below the site's root. Nothing of them is kept in the repository."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from docs.make.commands import commands_page, exit_codes
from docs.make.declared import kinds_page, reasons_page
from docs.make.metrics import metrics_page
from docs.make.sites import sites_page
from docs.make.stages import stage_pages

STAGES_FOLDER = "reference/stages/"
"""What stands in the navigation for the pages of all stages."""


@cache
def reference_pages() -> dict[str, str]:
    """Place of each generated page to its Markdown."""
    return {
        "reference/commands.md": commands_page(),
        **stage_pages(),
        "reference/kinds.md": kinds_page(),
        "reference/sites.md": sites_page(),
        "reference/reasons.md": reasons_page(),
        "reference/metrics.md": metrics_page(),
    }


def whole_navigation(nav: Any, folder: Path) -> Any:
    """The navigation with the pages of the stages in the place of their folder, and no page of `folder` left out."""
    whole = _with_stage_pages(nav)
    places = {path.relative_to(folder).as_posix() for path in folder.rglob("*.md")} - {"README.md"}
    left_out = sorted(places - set(_places(whole)))
    for entry in whole:
        if isinstance(entry, dict) and "Reference" in entry:
            entry["Reference"] += left_out
    return whole


def _with_stage_pages(nav: Any) -> Any:
    if nav == STAGES_FOLDER:
        return [place for place in reference_pages() if place.startswith(STAGES_FOLDER)]
    if isinstance(nav, list):
        return [_with_stage_pages(one) for one in nav]
    return {title: _with_stage_pages(one) for title, one in nav.items()} if isinstance(nav, dict) else nav


def _places(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for one in nav.values() if isinstance(nav, dict) else nav:
            yield from _places(one)


def filled_in(text: str) -> str:
    """A page of the site with its marks replaced by what the code says: `<!-- exit codes -->`."""
    return text.replace("<!-- exit codes -->", exit_codes()) if "<!-- exit codes -->" in text else text
