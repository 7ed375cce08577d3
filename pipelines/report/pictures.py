"""Pictures of a report, inside the page: those that stages drew of their work, and those of evaluations and training.

Each is decoded and encoded anew, no wider than a page, so that a report holds no bytes from outside as they came. All
together have a bound; what is left out is named with its place.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pipelines.lineage.contents import pictures
from stages.artifacts.artifact import Artifact
from stages.artifacts.profiles import profile_pictures
from stages.store.errors import StoreError
from stages.store.store import Store
from stages.surfaces.markup import markup_text

MAX_WIDTH_PX: Final = 1200
MAX_HEIGHT_PX: Final = 6000
MAX_SOURCE_PX: Final = 40_000_000
"""Largest picture that is decoded, in pixels."""
MAX_SOURCE_BYTES: Final = 20_000_000
DEFAULT_BUDGET_BYTES: Final = 12_000_000
"""Bytes of all pictures of a report together, as the page holds them."""
QUALITY: Final = 82
TITLES: Final = {
    "funnel.png": "How the items ended",
    "charts.png": "Sizes, scores and origins",
    "sheet_kept.png": "Some of the kept items",
    "sheet_dropped.png": "Some of the dropped items, by reason",
    "sheet_failed.png": "Some of the failed items, by reason",
    "contact_sheet.png": "Questions about pictures that were never seen, with answers",
}


@dataclass
class Embedder:
    """Puts pictures into a page, until the budget is used up."""

    store: Store
    budget_bytes: int = DEFAULT_BUDGET_BYTES

    def of_artifact(self, artifact: Artifact) -> Iterator[str]:
        """The pictures of an artifact: what its stage drew of the work, and what it holds."""
        entries = [*profile_pictures(artifact), *pictures(artifact.head)]
        found = {entry.name.rpartition("/")[2]: entry for entry in entries}
        for name in [*(name for name in TITLES if name in found), *sorted(found.keys() - TITLES.keys())]:
            entry = found[name]
            yield self.figure(entry.key, TITLES.get(name, name), entry.size_bytes)

    def figure(self, key: str, title: str, size_bytes: int = 0) -> str:
        """A picture of the store with a title; or why it is not shown."""
        from PIL.Image import DecompressionBombError

        caption = f"<figcaption>{markup_text(title)}</figcaption>"
        try:
            encoded = None if size_bytes > MAX_SOURCE_BYTES else self._encoded(key)
        except (StoreError, OSError, ValueError, SyntaxError, DecompressionBombError) as error:
            return f'<p class="trouble">{markup_text(f"{title}: {key} cannot be read ({error})")}</p>'
        if encoded is None:
            where = markup_text(f"{title}: not shown, to keep this page small; it lies at {self.store.url}/{key}")
            return f'<p class="faint">{where}</p>'
        width, height, data = encoded
        self.budget_bytes -= len(data)
        source = f"data:image/webp;base64,{data}"
        return (
            f'<figure>{caption}<img loading="lazy" width="{width}" height="{height}" '
            f'alt="{markup_text(title)}" src="{source}"></figure>'
        )

    def _encoded(self, key: str) -> tuple[int, int, str] | None:
        """Width, height and base64 of a picture; None where it is too large, or the budget is used up."""
        from PIL import Image

        if self.budget_bytes <= 0:
            return None
        data = self.store.read(key)
        if data is None:
            raise StoreError("it is not there")
        with Image.open(io.BytesIO(data), formats=("PNG",)) as opened:
            if opened.width * opened.height > MAX_SOURCE_PX:
                return None
            picture = opened.convert("RGB")
        picture.thumbnail((MAX_WIDTH_PX, MAX_HEIGHT_PX))
        written = io.BytesIO()
        picture.save(written, "WEBP", quality=QUALITY, method=2)
        text = base64.b64encode(written.getvalue()).decode()
        return None if len(text) > self.budget_bytes else (picture.width, picture.height, text)
