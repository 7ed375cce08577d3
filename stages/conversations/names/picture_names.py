"""Finds pictures by the names under which they were collected: a URL, or a path or other name in a source."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from stages.artifacts.kinds import KeptPairs, RawPairs
from stages.contract import Part, PartDraft, StageContext
from stages.conversations.names.name_index import NamedPart, NameIndex, NameLayout, index_names, write_names
from stages.formats.pairs import PairReader

NAME_COLUMNS: Final = ("url", "reference")
"""Columns of a sample table by which records call its pictures; tables of downloads have the first alone."""
PICTURE_LAYOUT: Final = NameLayout(
    names_phase="names",
    ranges_phase="pictures",
    ranges_file="pictures.bin",
    fields=(("width_px", "<u4"), ("height_px", "<u4")),
    keeps_all=False,
)
"""An entry holds the size of the picture: 40 bytes; of several pictures of one name the first in table order counts."""
PICTURE_PHASES: Final = (PICTURE_LAYOUT.names_phase, PICTURE_LAYOUT.ranges_phase)
"""The phases of `index_pictures`, in order."""


class FoundImage(NamedTuple):
    """A picture among those that were collected."""

    sample_id: bytes
    """Its sample id, 16 bytes."""
    width_px: int
    """Width of the upright picture, in pixels."""
    height_px: int
    """Height of the upright picture, in pixels."""


@dataclass(frozen=True)
class PictureNames:
    """Finds pictures by their names. Pickles."""

    index: NameIndex
    """The names of all kept pairs."""

    def find(self, names: Collection[str]) -> Mapping[str, FoundImage]:
        """The pictures under these names; a name under which there is none is left out."""
        return {name: FoundImage(*entries[0]) for name, entries in self.index.find(names)}


def index_pictures(ctx: StageContext, pictures: KeptPairs | RawPairs | None) -> PictureNames:
    """Make the names of all kept pairs findable, in two phases of the artifact that is being made."""
    if pictures is None:
        return PictureNames(NameIndex(ctx.store, PICTURE_LAYOUT))
    work = partial(list_names, pictures=pictures)
    return PictureNames(index_names(ctx, PICTURE_LAYOUT, work, PairReader(pictures).parts, pictures.head.items.kept))


def list_names(part: Part, draft: PartDraft, pictures: KeptPairs | RawPairs) -> None:
    """List the names of the kept pairs of one part of the pictures."""
    table = PairReader(pictures).read_table(NamedPart.of(part).part)
    columns = [table[name].to_pylist() for name in NAME_COLUMNS if name in table.column_names]
    names = [(name, row) for column in columns for row, name in enumerate(column) if name is not None]
    values = {"sample_id": table["sample_id"].to_pylist()}
    sizes = {name: table[name].to_numpy() for name in ("width_px", "height_px")}
    write_names(PICTURE_LAYOUT, names, {**values, **sizes}, draft)
