"""Puts rows that cost alike next to each other, so that the ranks of a step that reads them together are even.

Rows are equally long and not equally dear: attention costs as much as the squares of the lengths of documents and
pictures, and a row with one long video takes up to twice as long as one with many short captions. Rows are sorted by
cost and cut into groups; the groups are shuffled, and training shuffles groups instead of rows.

An example: rows that cost 5, 1, 4, 2, 9, in groups of two, are sorted 1 2 | 4 5 | 9; the groups come in any order, the
incomplete one last: 4 5 | 1 2 | 9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stages.packing.bin_packing import ROWS_AT_ONCE, RowPlan, reordered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stages.packing.bin_packing import Whole

PAIRS_PER_TOKEN = 9_216
"""Pairs of a query and a key that cost as much as the linear layers at one token: in NEO-2.2B 113M FLOPs a layer and
token beside 12,288 a pair. In NEO-9B they are 17,408; the order of full rows does not depend on it."""


def alike_together(
    plan: RowPlan, lengths: Whole, num_pairs: NDArray[np.float32], rows_together: int, key: str
) -> RowPlan:
    """The same rows, in groups of `rows_together` that cost alike; the groups are shuffled by `key`.

    `lengths` [num_documents] are in tokens, `num_pairs` the visible pairs of a query and a key of each document. The
    rows that are left over are the dearest, and come last.
    """
    import numpy as np

    from stages.formats.permutation import Shuffle

    by_cost = np.argsort(row_costs(plan, lengths, num_pairs), kind="stable")
    num_groups = plan.num_rows // rows_together
    if not num_groups:
        return reordered(plan, by_cost)
    groups = Shuffle(num_groups, f"{key}/groups").items(np.arange(num_groups))
    grouped = by_cost[: num_groups * rows_together].reshape(num_groups, rows_together)[groups].ravel()
    return reordered(plan, np.concatenate([grouped, by_cost[num_groups * rows_together :]]))


def row_costs(plan: RowPlan, lengths: Whole, num_pairs: NDArray[np.float32]) -> NDArray[np.float64]:
    """[num_rows] cost of each row in pairs of a query and a key, its linear layers included."""
    import numpy as np

    costs = np.empty(plan.num_rows)
    for first in range(0, plan.num_rows, ROWS_AT_ONCE):
        starts = plan.row_starts[first : first + ROWS_AT_ONCE + 1]
        documents = plan.documents[starts[0] : starts[-1]]
        of_document = num_pairs[documents].astype(np.float64) + PAIRS_PER_TOKEN * lengths[documents].astype(np.float64)
        costs[first : first + len(starts) - 1] = np.add.reduceat(of_document, starts[:-1] - starts[0])
    return costs
