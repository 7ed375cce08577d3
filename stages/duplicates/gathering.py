"""Phase `gather`: what was found of the pairs of a group of parts, for the work that judges each part.

    duplicates.rows   each duplicate once (`FOUND_FIELDS`), with the surest reason and its best pair, by parts

Memory: the duplicates of a million rows, each as often as it was found: 100 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from stages.artifacts.records import PartRecord
from stages.contract import Part, PartDraft
from stages.duplicates.criteria import FOUND_FIELDS
from stages.duplicates.joining import FOUND_FILE
from stages.duplicates.parts_of_rows import GroupTask, RowParts
from stages.duplicates.slices import read_slice, read_slices, write_slices
from stages.store.store import Store

if TYPE_CHECKING:
    from stages.formats.external_sort import Records

DUPLICATES_FILE: Final = "duplicates.rows"


def gather_found(
    part: Part,
    draft: PartDraft,
    *,
    store: Store,
    rows: RowParts,
    groups: Sequence[GroupTask],
    found: Sequence[PartRecord],
) -> None:
    """Gather what all parts of the phases `join` and `near`, `found`, have of one of the `groups`."""
    import numpy as np

    group = GroupTask.of(part)
    entries = [record.file(FOUND_FILE) for record in found]
    mine = surest(read_slices(store, entries, groups.index(group), of=len(groups), fields=FOUND_FIELDS))
    tasks = rows.tasks[group.first : group.until]
    numbers = np.searchsorted([task.first_row for task in tasks], mine["row"], side="right") - 1
    write_slices(draft.path(DUPLICATES_FILE), mine, numbers, len(tasks))


def surest(found: Records) -> Records:
    """Each duplicate once, with its surest reason, and of that the best pair; by row."""
    import numpy as np

    found = found[np.lexsort((found["of_rank"], found["reason"], found["row"]))]
    is_first = np.append(True, found["row"][1:] != found["row"][:-1])[: len(found)]
    first: Records = found[is_first]
    return first


def duplicates_of_part(
    store: Store, groups: Sequence[GroupTask], gathered: Sequence[PartRecord], number: int
) -> Records:
    """The duplicates (`FOUND_FIELDS`) in part `number` of the pairs that are judged."""
    at = next(at for at, group in enumerate(groups) if group.first <= number < group.until)
    group = groups[at]
    entry = gathered[at].file(DUPLICATES_FILE)
    return read_slice(store, entry, number - group.first, of=group.until - group.first, fields=FOUND_FIELDS)
