"""Phase `list`: the pairs of a group of parts under their keys, by slices, for the parts that join them.

    url.keys, picture.keys, ...   a file for each criterion: pairs under keys (`KEY_FIELDS`), by slices of the keys

Memory: the sketches of a million rows, and the records of one criterion: some 200 MB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from stages.artifacts.phase_files import read_file
from stages.artifacts.records import PartRecord
from stages.contract import Part, PartDraft, PartFacts
from stages.duplicates.criteria import KEY_FIELDS, Criterion
from stages.duplicates.hash_bits import mixed
from stages.duplicates.parts_of_rows import JUDGED, GroupTask, RowParts
from stages.duplicates.ranks import ranks_of
from stages.duplicates.sketching import SKETCH_FILE
from stages.duplicates.slices import num_slices, slice_of, write_slices
from stages.formats.sample_table import read_table
from stages.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

    from stages.formats.external_sort import Records


class ListedKeysFacts(PartFacts):
    """What a part of phase `list` records."""

    num_keys: dict[str, int]
    """Criterion to the number of pairs under its keys."""


def keys_file(criterion: Criterion) -> str:
    """The file of the pairs under the keys of a criterion."""
    return f"{criterion.name}.keys"


def slices_of(criterion: Criterion, num_rows: int) -> int:
    """Into how many slices the keys of a criterion are parted, for so many pairs of all sources."""
    return num_slices(num_rows * len(criterion.columns))


def list_keys(
    part: Part,
    draft: PartDraft,
    *,
    store: Store,
    rows: RowParts,
    sketched: Sequence[PartRecord],
    criteria: Sequence[Criterion],
) -> None:
    """List the pairs of one group of parts under their keys. `sketched` are all records of phase `sketch`."""
    import numpy as np

    group = GroupTask.of(part)
    columns = [column for criterion in criteria for column in criterion.columns]
    tables = [
        read_table(read_file(store, record, SKETCH_FILE), ["sample_id", "own_reason", "num_pixels", *columns])
        for record in sketched[group.first : group.until]
    ]
    num_keys: dict[str, int] = {}
    for criterion in criteria:
        found = [np.empty(0, KEY_FIELDS)]
        for task, table in zip(rows.tasks[group.first : group.until], tables, strict=True):
            found += _under_keys(table, criterion, task.first_row, is_earlier=task.source != JUDGED)
        records = np.concatenate(found)
        number_of_slices = slices_of(criterion, rows.num_rows)
        numbers = slice_of(mixed(records["key"]), number_of_slices)
        write_slices(draft.path(keys_file(criterion)), records, numbers, number_of_slices)
        num_keys[criterion.name] = len(records)
    draft.fact(**ListedKeysFacts(num_keys=num_keys).dump())


def _under_keys(table: pa.Table, criterion: Criterion, first_row: int, *, is_earlier: bool) -> Iterator[Records]:
    """The pairs of a sketch that nothing is against, under each of their keys."""
    import numpy as np
    import pyarrow.compute as pc

    ranks = ranks_of(table["num_pixels"].to_numpy(), first_row, is_earlier=is_earlier)
    ids = np.frombuffer(table["sample_id"].combine_chunks().buffers()[1], dict(KEY_FIELDS)["sample_id"])
    is_open = pc.is_null(table["own_reason"])
    for column in criterion.columns:
        keyed = pc.and_(is_open, pc.is_valid(table[column])).to_numpy()
        records = np.empty(int(keyed.sum()), KEY_FIELDS)
        records["key"] = table[column].fill_null(0).to_numpy()[keyed]
        records["rank"] = ranks[keyed]
        records["sample_id"] = ids[: table.num_rows][keyed]
        yield records
