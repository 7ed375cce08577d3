"""Brings together what names the same picture: each name once, with where its picture lies or why it has none.

    owned_NNNNN.parquet   the names that part NNNNN of the table is the first to refer to, by their position there:
                          `name`, `position`, `held`, `reason`, and the columns of an `ImagePlace`

A name that several pictures of the source have is ambiguous, unless all are the same bytes of the same file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stages.artifacts.records import PartRecord
from stages.collecting.image_names import IMAGES, ImagePlace
from stages.collecting.listing import REFERENCES
from stages.collecting.slots import NUM_SLOTS, read_slots
from stages.contract import Part, PartDraft, PartFacts, PartTask
from stages.download.address import is_web_address
from stages.formats.sample_table import write_table
from stages.importing.picture_folder import plain_path
from stages.importing.reasons import ImportReason
from stages.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa


class NameSlots(PartTask):
    """The task of a part that brings names together: its slots."""

    slots: list[int]


class OwnedFacts(PartFacts):
    """What such a part records."""

    num_owned: dict[int, int]
    """Part of the table to how many names of these slots it is the first to refer to."""


def owned_file(number: int) -> str:
    """The file of the names that part `number` of the table is the first to refer to."""
    return f"owned_{number:05d}.parquet"


def local_name(name: str, prefix: str) -> str | ImportReason:
    """The path in the source of images that a reference means, without `prefix`, or why it is none.

    `./a//1.jpg` means `a/1.jpg`, and with the prefix `/data/` `/data/a/1.jpg` does.
    """
    path = plain_path(name.replace("\\", "/"))
    path = path.removeprefix(prefix) if prefix else path
    steps = path.split("/")
    if path.startswith("/") or ".." in steps or steps[0].endswith(":"):
        return ImportReason.PATH_OUTSIDE
    return "/".join(step for step in steps if step not in ("", "."))


def find_distinct(
    part: Part,
    draft: PartDraft,
    *,
    store: Store,
    listed: Sequence[PartRecord],
    images: Sequence[PartRecord] | None,
    prefix: str,
) -> None:
    """Bring the names of some slots together. `images` are the records of listed pictures, None without a source."""
    slots = NameSlots.of(part).slots
    first: dict[str, dict[str, Any]] = {}
    for table in read_slots(store, listed, slots, REFERENCES):
        for row in table.to_pylist():
            known = first.setdefault(row["name"], row)
            if (row["part"], row["position"]) < (known["part"], known["position"]):
                first[row["name"]] = row
    rows = sorted(first.values(), key=lambda row: (row["part"], row["position"]))
    places = _places(rows, store, images, prefix) if images is not None else {}
    owned: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        owned.setdefault(row["part"], []).append(_located(row, places, prefix))
    for number, names in owned.items():
        write_table(_table(names), draft.path(owned_file(number)))
    draft.fact(**OwnedFacts(num_owned={number: len(names) for number, names in owned.items()}).dump())


def _places(
    rows: Sequence[Mapping[str, Any]], store: Store, images: Sequence[PartRecord], prefix: str
) -> dict[str, ImagePlace | ImportReason]:
    """Where the pictures lie that local references mean. Holds the names of pictures that are referred to alone.

    A reference without its prefix may fall into any slot, so all slots are read; each table is filtered as it comes.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = {local_name(row["name"], prefix) for row in rows if not row["held"] and not is_web_address(row["name"])}
    names = pa.array(sorted(name for name in wanted if not isinstance(name, ImportReason)), pa.string())
    places: dict[str, ImagePlace | ImportReason] = {}
    for table in read_slots(store, images, range(NUM_SLOTS), IMAGES):
        for row in table.filter(pc.is_in(table["name"], value_set=names)).to_pylist():
            where = ImagePlace(*(row[field] for field in ImagePlace._fields))
            known = places.setdefault(row["name"], where)
            if known != where:
                places[row["name"]] = ImportReason.IMAGE_AMBIGUOUS
    return places


def _located(row: Mapping[str, Any], places: Mapping[str, ImagePlace | ImportReason], prefix: str) -> dict[str, Any]:
    located = {"name": row["name"], "position": row["position"], "held": row["held"], "reason": None}
    if row["held"] or is_web_address(row["name"]):
        return located
    name = local_name(row["name"], prefix)
    place = name if isinstance(name, ImportReason) else places.get(name, ImportReason.IMAGE_MISSING)
    return {**located, **place._asdict()} if isinstance(place, ImagePlace) else {**located, "reason": place.value}


def _table(names: Sequence[Mapping[str, Any]]) -> pa.Table:
    import pyarrow as pa

    kinds = {"name": pa.string(), "position": pa.int64(), "held": pa.bool_(), "reason": pa.string()}
    kinds |= {"path": pa.string(), "file_bytes": pa.int64(), "etag": pa.string()}
    kinds |= {"offset": pa.int64(), "size_bytes": pa.int64()}
    return pa.Table.from_pylist(names, pa.schema(kinds))
