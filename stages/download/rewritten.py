"""Makes pairs again without those that are taken down, out of what is stored: nothing is fetched or read anew.

Parts that hold none of them are taken over by reference. Of a part that holds some, tar and sample table are written
again: a row that is to be forgotten stays as a row with its sample id, dropped as `taken_down`, and with nothing else;
its picture, caption and facts are gone from the tar. Rows of a later part that were fetched again are left out there,
since the part that they come from has their row. Everything else of a row stays as it was, keys included.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.artifacts.kinds import PAIRS_FILE, SAMPLES_FILE, RawPairs
from stages.artifacts.phase_files import damaged, read_entry
from stages.artifacts.records import FileEntry, PartRecord
from stages.artifacts.taken_over import superseded_reasons, with_superseded
from stages.contract import Part, PartDraft, StageContext, StageError
from stages.download.extended import RETRIED_PART
from stages.download.picture_recipe import PictureRecipe
from stages.download.raw_pairs import RESERVED_COLUMNS, blanked, keys_of, write_tar
from stages.download.reasons import Reason
from stages.download.spool import SpooledPicture
from stages.formats.losses import examples_of
from stages.formats.sample_table import ItemReason, balance_of, read_table, without_reasons, write_table
from stages.origins.tables.row_batches import MALFORMED
from stages.profiles.example_pictures import PairPictures, images_of_parts
from stages.profiles.pictures import ProfileSubject, draw_profile, keep_profile
from stages.store.local_files import local_file
from stages.takedowns.held_parts import parts_that_hold
from stages.takedowns.tombstones import TAKEN_DOWN, Tombstones

if TYPE_CHECKING:
    import pyarrow as pa

    from stages.takedowns.tombstones import Mask

_STAYS = ("sample_id", "verdict", "reason", "retriable")
"""Columns of a row that is forgotten which keep a value."""
_FACTS_OF_ROWS = ("examples", "num_unspelled", "superseded")


def rewrite_pairs(
    ctx: StageContext,
    recipe: PictureRecipe,
    extends: RawPairs | None,
    phase: str,
    *,
    retried: Sequence[str] = (),
) -> bool:
    """Make pairs again of what the stage made before, under all takedowns of the recipe; False where that is nothing.

    Parts that it took over from what it extends are taken over from what it extends now; there, rows that failed for
    one of the reasons `retried` have their verdict in the stage's own parts.
    """
    before = ctx.before
    if not isinstance(before, RawPairs):
        return False
    assert extends is None or before.fingerprint != extends.fingerprint, "what it extends is not what it made"
    lists = [one for one in recipe.taken_down if one not in before.head.recipe.get("taken_down", ())]
    holding = parts_that_hold(ctx.store, lists, before.stage, before.fingerprint)
    extended = {} if extends is None else {one.part: with_superseded(one, retried) for one in extends.each_part()}
    taken: list[PartRecord] = []
    over: list[Part] = []
    again: dict[str, PartRecord] = {}
    for record in before.each_part():
        kept = extended.get(record.part, None if record.part in holding else record)
        if kept is not None:
            taken.append(kept)
        else:
            again[record.part] = record
        items = kept.items.total if kept else None if _is_retried(record) else record.items.total
        over.append(Part(name=record.part, num_items=items))
    work = partial(
        rewrite_part,
        records=again,
        tombstones=Tombstones(ctx.store, recipe.taken_down),
        num_parts=len(over),
    )
    records = ctx.spread(work, over=over, phase=phase, taken=taken)
    if before.head.items.kept and not any(record.items.kept for record in records):
        raise StageError(
            f"all that {before.stage}/{before.short} kept is taken down; take its source out of the pipeline"
        )
    subject = ProfileSubject(title=f"{before.stage}/{before.short} without what is taken down", items="rows")
    draw_profile(ctx, records, subject, PairPictures(images_of_parts(ctx.store, records)))
    return True


def rewrite_part(
    part: Part,
    draft: PartDraft,
    *,
    records: Mapping[str, PartRecord],
    tombstones: Tombstones,
    num_parts: int,
) -> None:
    """Write one of `num_parts` parts again, out of its tar and its sample table."""
    import numpy as np
    import pyarrow as pa

    record, store = records[part.name], tombstones.store
    table = read_entry(store, record.file(SAMPLES_FILE))
    if hashlib.sha256(table).hexdigest() != record.file(SAMPLES_FILE).sha256:
        raise damaged(record.file(SAMPLES_FILE).key, "has other bytes than were committed")
    samples = read_table(table)
    gone = _to_forget(samples, tombstones)
    if _is_retried(record):
        by_row = tombstones.rows_of(samples.drop_columns(["sha256"]))
        samples, gone = samples.filter(pa.array(~by_row)), gone[~by_row]
    keys = None if _is_retried(record) else _first_key(samples)
    samples = _forgotten(samples, gone, superseded_reasons(record))
    entry = record.file(PAIRS_FILE)
    with local_file(store, entry.key, entry.size_bytes) as stored:
        _check_whole(entry, stored)
        samples, num_unspelled = _with_tar(samples, draft, stored, keys)
    write_table(samples, draft.path(SAMPLES_FILE))
    counted = without_reasons(samples, superseded_reasons(record))
    draft.count(balance_of(counted))
    draft.fact(**{name: value for name, value in record.facts.items() if name not in _FACTS_OF_ROWS})
    draft.fact(**examples_of(counted, ["url", "caption", MALFORMED], None))
    if superseded := record.facts.get("superseded"):
        draft.fact(superseded=superseded)
    if num_unspelled:
        draft.fact(num_unspelled=num_unspelled)
    draft.annotate(num_taken_down=int(np.count_nonzero(gone)))
    if not _is_retried(record):  # its profile would have to leave out rows of other parts
        keep_profile(draft, counted, part.name, num_parts)


def _check_whole(entry: FileEntry, stored: Path) -> None:
    """Raise `StoreError` where a file is not as it was committed: its bytes get a new digest, which would hide that."""
    with stored.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256:
            raise damaged(entry.key, "has other bytes than were committed")


def _is_retried(record: PartRecord) -> bool:
    return RETRIED_PART.fullmatch(record.part) is not None


def _to_forget(samples: pa.Table, tombstones: Tombstones) -> Mask:
    """The rows that are to be forgotten and are not yet."""
    import pyarrow.compute as pc

    is_new = pc.fill_null(pc.not_equal(samples["reason"], TAKEN_DOWN), True).to_numpy()
    mask: Mask = tombstones.rows_of(samples) & is_new
    return mask


def _forgotten(samples: pa.Table, gone: Mask, superseded: frozenset[str]) -> pa.Table:
    """The table without anything of these rows but their ids; a row that a later part has keeps its reason."""
    import pyarrow as pa
    import pyarrow.compute as pc

    empty = blanked(samples, gone)
    has_later = pc.fill_null(pc.is_in(samples["reason"], value_set=pa.array(sorted(superseded), pa.string())), False)
    is_now = pc.and_(pa.array(gone), pc.invert(has_later))
    said: dict[str, Any] = {"verdict": Reason.TAKEN_DOWN.verdict.value, "reason": TAKEN_DOWN, "retriable": False}
    for name in samples.column_names:
        if name in _STAYS:
            column = pc.if_else(is_now, pa.scalar(said[name]), samples[name]) if name in said else samples[name]
            empty = empty.set_column(empty.column_names.index(name), name, column)
    return empty


def _first_key(samples: pa.Table) -> int | None:
    """The number of the first row, as keys count; None where no row was kept, or keys of rows do not follow.

    The first kept row shares no earlier one's picture, so its key is its own number.
    """
    keys = samples["key"].to_pylist()
    place = next((number for number, verdict in enumerate(samples["verdict"].to_pylist()) if verdict == "kept"), None)
    return None if place is None else int(keys[place]) - place


def _with_tar(
    samples: pa.Table, draft: PartDraft, stored: Path, first_key: int | None
) -> tuple[pa.Table, dict[str, int]]:
    """Write the tar of the rows that are kept, out of the stored one; the table with their keys and offsets in it.

    Where the row under whose key a picture lay is gone, it lies under that of the next row with it.
    """
    import pyarrow as pa

    places = samples.select(["verdict", "image_offset", "image_size_bytes"]).to_pylist()
    facts = samples.select(["sha256", "width_px", "height_px"]).to_pylist()
    outcomes: list[SpooledPicture | ItemReason] = [
        SpooledPicture(offset=place["image_offset"], size_bytes=place["image_size_bytes"], sent_as="", **fact)
        if place["verdict"] == "kept"
        else Reason.TAKEN_DOWN
        for place, fact in zip(places, facts, strict=True)
    ]
    if first_key is not None:
        keys = pa.array(keys_of(outcomes, first_key), pa.string())
        samples = samples.set_column(samples.column_names.index("key"), "key", keys)
    carried = samples.select([one for one in samples.column_names if one not in RESERVED_COLUMNS - {"reference"}])
    rows = samples.select(["sample_id", "url", "caption", "sha256", "width_px", "height_px", "key"]).to_pylist()
    offsets, unspelled = write_tar(draft.path(PAIRS_FILE), rows, carried, outcomes, stored)
    place = samples.column_names.index("image_offset")
    return samples.set_column(place, "image_offset", pa.array(offsets, pa.int64())), unspelled
