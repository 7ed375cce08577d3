"""What is asked about: sample ids in one sorted array, or every sample; of some sources of a mixture, or of any.

Owns the set and its algebra. 16 bytes a sample, and no object for any of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Final, TypeAlias

from stages.formats.sample_table import SAMPLE_ID_BYTES

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Ids = NDArray[np.bytes_]
    Mask = NDArray[np.bool_]

ID_TYPE: Final = f"S{SAMPLE_ID_BYTES}"
"""Sample ids as numpy compares and sorts them."""
ANY: Final = ""
"""Stands in the place of a source: the samples are wanted whatever source they were drawn from."""


@dataclass(frozen=True, eq=False)
class Wanted:
    """Samples that are asked about."""

    ids: Ids | None = None
    """[N] their ids, sorted, each once; None: every sample."""

    @classmethod
    def of(cls, ids: Iterable[bytes]) -> Wanted:
        """These samples. Raises `ValueError` for an id that has not 16 bytes, such as one spelled in hex."""
        import numpy as np

        known = list(ids)
        for wrong in (one for one in known if len(one) != SAMPLE_ID_BYTES):
            raise ValueError(f"{wrong!r} is no sample id: it has {len(wrong)} bytes, not {SAMPLE_ID_BYTES}")
        return cls(np.unique(np.array(known, ID_TYPE)))

    @property
    def is_every(self) -> bool:
        """Whether every sample is wanted."""
        return self.ids is None

    def __bool__(self) -> bool:
        return self.ids is None or len(self.ids) > 0

    def __or__(self, other: Wanted) -> Wanted:
        if self is other or self.ids is None or not other:
            return self
        if other.ids is None or not self:
            return other
        import numpy as np

        return Wanted(np.union1d(self.ids, other.ids))

    def holds(self, ids: Ids) -> Mask:
        """[N] whether each of these ids is wanted."""
        import numpy as np

        if self.ids is None:
            return np.ones(len(ids), bool)
        return places_in(self.ids, ids) >= 0


Hold: TypeAlias = Mapping[str, Wanted]
"""What an artifact may hold of what is asked about, by the source that it was drawn from, or by `ANY`."""


def joined(holds: Iterable[Hold]) -> Hold:
    """All of these together; sources of which nothing is wanted are left out."""
    found: dict[str, Wanted] = {}
    for source, wanted in (item for hold in holds for item in hold.items()):
        if wanted:
            found[source] = found[source] | wanted if source in found else wanted
    return found


def of_any(hold: Hold) -> Wanted:
    """What is held, whatever source it is of."""
    return reduce(or_, hold.values(), Wanted.of(()))


def places_in(ids: Ids, wanted: Ids) -> NDArray[np.int64]:
    """[N] where each of `wanted` stands in `ids`, which are sorted; -1 for those that are not there."""
    import numpy as np

    if not len(ids):
        return np.full(len(wanted), -1, np.int64)
    places = np.searchsorted(ids, wanted)
    places[places == len(ids)] = 0
    return np.where(ids[places] == wanted, places, -1)


def ids_of(column: pa.ChunkedArray | pa.Array) -> Ids:
    """The sample ids of a column without nulls, without an object for each."""
    import numpy as np
    import pyarrow as pa

    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    arrays = [np.zeros(0, ID_TYPE)]
    for chunk in chunks:
        fixed = chunk.cast(pa.binary(SAMPLE_ID_BYTES))
        if fixed.null_count:
            raise ValueError(f"{fixed.null_count} rows have no sample id")
        if len(fixed):
            data = fixed.buffers()[1]
            arrays.append(np.frombuffer(data, ID_TYPE, count=len(fixed), offset=fixed.offset * SAMPLE_ID_BYTES))
    return np.concatenate(arrays)
