"""Puts rows that cost alike next to each other, so that the ranks of a step that reads them together are even.

Rows are equally long and not equally dear: attention costs as much as the squares of the lengths of documents and
pictures, so that a row with one long video takes up to twice as long as one with many short captions; and the output
head is computed where a token is supervised, an eighth more for a row of texts than for one of pictures. Rows are
sorted by cost and cut into groups; the groups are shuffled, and training shuffles groups instead of rows.

An example: rows that cost 5, 1, 4, 2, 9, in groups of two, are sorted 1 2 | 4 5 | 9; the groups come in any order, the
incomplete one last: 4 5 | 1 2 | 9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stages.packing.bin_packing import ROWS_AT_ONCE, RowPlan, reordered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PAIRS_PER_TOKEN = 9_216
"""Pairs of a query and a key that cost as much as the linear layers at one token: in NEO-2.2B 113M FLOPs a layer and
token beside 12,288 a pair. In NEO-9B they are 17,408; the order of full rows does not depend on it."""
PAIRS_PER_SUPERVISED = 1_266
"""Pairs, in all layers, that cost as much as the head at one supervised token: in NEO-2.2B 622M FLOPs beside 40 x
12,288. In NEO-9B they are 1,206."""
PAIRS_PER_PATCH = 12
"""Pairs, in all layers, that cost as much as the embedding of one patch: in NEO-2.2B 5.8M FLOPs. In NEO-9B they are 10.
"""


def document_cost(*, num_tokens: int, num_pairs: int, num_patches: int, num_supervised: int) -> int:
    """What a document costs in a training step, in visible pairs of a query and a key."""
    rest = PAIRS_PER_SUPERVISED * num_supervised + PAIRS_PER_PATCH * num_patches
    return num_pairs + PAIRS_PER_TOKEN * num_tokens + rest


def alike_together(plan: RowPlan, costs: NDArray[np.float32], rows_together: int, key: str) -> RowPlan:
    """The same rows, in groups of `rows_together` that cost alike; the groups are shuffled by `key`.

    `costs` [num_documents] are those of `document_cost`. The rows that are left over are the dearest, and come last.
    """
    import numpy as np

    from stages.formats.permutation import Shuffle

    by_cost = np.argsort(row_costs(plan, costs), kind="stable")
    num_groups = plan.num_rows // rows_together
    if not num_groups:
        return reordered(plan, by_cost)
    groups = Shuffle(num_groups, f"{key}/groups").items(np.arange(num_groups))
    grouped = by_cost[: num_groups * rows_together].reshape(num_groups, rows_together)[groups].ravel()
    return reordered(plan, np.concatenate([grouped, by_cost[num_groups * rows_together :]]))


def row_costs(plan: RowPlan, costs: NDArray[np.float32]) -> NDArray[np.float64]:
    """[num_rows] cost of each row, from those of its documents."""
    import numpy as np

    summed = np.empty(plan.num_rows)
    for first in range(0, plan.num_rows, ROWS_AT_ONCE):
        starts = plan.row_starts[first : first + ROWS_AT_ONCE + 1]
        of_document = costs[plan.documents[starts[0] : starts[-1]]].astype(np.float64)
        summed[first : first + len(starts) - 1] = np.add.reduceat(of_document, starts[:-1] - starts[0])
    return summed
