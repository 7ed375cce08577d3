"""Phase `list`: the pairs of a group of parts under their keys, by slices, for the parts that join them.

    url.keys, picture.keys, ...   a file for each criterion: pairs under keys (`KEY_FIELDS`), by slices of the keys

Memory: the sketches of a million rows, and the records of one criterion: some 200 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from stages.artifacts.phase_files import read_file
from stages.artifacts.records import PartRecord
from stages.contract import Part, PartDraft, PartFacts
from stages.duplicates.criteria import KEY_FIELDS, Criterion
from stages.duplicates.measures.hash_bits import mixed
from stages.duplicates.parts_of_rows import JUDGED, GroupTask, RowParts
from stages.duplicates.ranks import ranks_of
from stages.duplicates.sketching import SKETCH_FILE
from stages.duplicates.slices import num_slices, slice_of, write_slices
from stages.formats.sample_table import read_table
from stages.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from stages.formats.external_sort import Records


class ListedKeysFacts(PartFacts):
    """What a part of phase `list` records."""

    num_keys: dict[str, int]
    """Criterion to the number of pairs under its keys."""


def keys_file(criterion: Criterion) -> str:
    """The file of the pairs under the keys of a criterion."""
    return f"{criterion.name}.keys"


def list_keys(
    part: Part,
    draft: PartDraft,
    *,
    store: Store,
    rows: RowParts,
    sketched: Sequence[PartRecord],
    criteria: Sequence[Criterion],
    size: str,
) -> None:
    """List the rows of one group of parts under their keys.

    `sketched` are all records of phase `sketch`; `size` is the column by which the larger one wins.
    """
    import numpy as np

    group = GroupTask.of(part)
    columns = ["sample_id", "own_reason", size, *(criterion.column for criterion in criteria)]
    tasks = rows.tasks[group.first : group.until]
    of_group = sketched[group.first : group.until]
    tables = [read_table(read_file(store, record, SKETCH_FILE), columns) for record in of_group]
    ranks = [
        ranks_of(table[size].to_numpy(), task.first_row, is_earlier=task.source != JUDGED)
        for task, table in zip(tasks, tables, strict=True)
    ]
    ids = [_ids(table) for table in tables]
    num_keys: dict[str, int] = {}
    for criterion in criteria:
        found = [np.empty(0, KEY_FIELDS), *map(partial(_under_keys, criterion.column), tables, ranks, ids)]
        records = np.concatenate(found)
        numbers = slice_of(mixed(records["key"]), num_slices(rows.num_rows))
        write_slices(draft.path(keys_file(criterion)), records, numbers, num_slices(rows.num_rows))
        num_keys[criterion.name] = len(records)
    draft.fact(**ListedKeysFacts(num_keys=num_keys).dump())


def _ids(table: pa.Table) -> NDArray[np.void]:
    import numpy as np

    return np.frombuffer(b"".join(table["sample_id"].to_pylist()), dict(KEY_FIELDS)["sample_id"])


def _under_keys(column: str, table: pa.Table, ranks: NDArray[np.uint64], ids: NDArray[np.void]) -> Records:
    """The pairs of a sketch that nothing is against, under their keys in a column."""
    import numpy as np
    import pyarrow.compute as pc

    keyed = pc.and_(pc.is_null(table["own_reason"]), pc.is_valid(table[column])).to_numpy()
    records = np.empty(int(keyed.sum()), KEY_FIELDS)
    records["key"] = table[column].fill_null(0).to_numpy()[keyed]
    records["rank"], records["sample_id"] = ranks[keyed], ids[keyed]
    return records
