"""What MkDocs calls while it builds the site: it adds the generated pages and fills in what the code says.

MkDocs loads this file by its path, so the root of the checkout is put on the import path first.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


def on_config(config: Any) -> Any:
    """List the page of every stage in the navigation, and under Reference each page that stands nowhere in it."""
    from docs.make.reference import whole_navigation

    config.nav = whole_navigation(config.nav, Path(config.docs_dir))
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add every generated page."""
    from mkdocs.structure.files import File

    from docs.make.reference import reference_pages

    for place, text in reference_pages().items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in what the code says."""
    from docs.make.reference import filled_in

    return filled_in(markdown)
