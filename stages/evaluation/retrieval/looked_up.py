"""The retrieval of an evaluation, from the vectors of all parts to its metrics.

Owns the vectors of distinct pictures and captions as files on local disk, from which blocks are read, and whether a
checkpoint was trained for retrieval, by its lineage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.artifacts.ancestry import ancestry
from stages.artifacts.head import ManifestHead
from stages.artifacts.kinds import Checkpoint
from stages.artifacts.learned import learned_from
from stages.artifacts.phase_files import read_file
from stages.artifacts.records import PartRecord
from stages.contract import fork_of
from stages.evaluation.retrieval.embedding import VECTORS_FILE
from stages.evaluation.retrieval.recall import recalls, sides_of
from stages.formats.sample_table import Verdict, read_table
from stages.store.errors import StoreError
from stages.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


def retrieval_numbers(
    store: Store, embedded: Sequence[PartRecord], scratch: Path, *, trained: bool | None
) -> dict[str, float]:
    """The metrics of the pairs in these parts of phase `embed`; {} where there are none.

    In memory are one part and the numbers of pictures and captions, 16 bytes a pair beside their digests.
    """
    if not embedded:
        return {}
    import numpy as np

    scratch.mkdir(parents=True, exist_ok=True)
    pictures, captions = (_Distinct(scratch / f"{name}.f32") for name in ("picture", "caption"))
    numbers: tuple[list[int], list[int]] = ([], [])
    num_failed = 0
    for record in embedded:
        table = read_table(read_file(store, record, VECTORS_FILE))
        kept = table.filter([verdict == Verdict.KEPT.value for verdict in table["verdict"].to_pylist()])
        num_failed += table.num_rows - kept.num_rows
        for name, side, found in zip(("picture", "caption"), (pictures, captions), numbers, strict=True):
            found.extend(side.add(kept[name].to_pylist(), _matrix(kept[f"{name}_vector"])))
    of_pictures, of_captions = (np.array(found, np.int64) for found in numbers)
    sides = sides_of(of_pictures, of_captions, pictures.vectors(), captions.vectors())
    counts = {"num_retrieval_pairs": len(numbers[0]) + num_failed, "num_retrieval_failed": num_failed}
    return {**counts, **recalls(*sides, trained=trained)}


def trained_for_retrieval(checkpoint: Checkpoint) -> bool | None:
    """Whether a training that the checkpoint comes from had a contrastive loss; None where its lineage is incomplete.

    The steps that a fork takes over from the training that it begins from count, too: those of a fork of a fork from
    the first training on. What was trained outside of this store is not known, and counts as trained without.
    """
    try:
        heads = {head.fingerprint: head for head in ancestry(checkpoint)}
    except StoreError:
        return None
    learned = learned_from(heads.values(), checkpoint.fingerprint)
    return any(recipe.get("contrastive_weight", 0) > 0 for one in learned for recipe in _recipes(heads[one]))


def _recipes(head: ManifestHead) -> Iterator[Mapping[str, Any]]:
    """The recipe of an artifact, then those of the trainings before it of which it is a fork."""
    yield head.recipe
    fork = fork_of(head)
    while fork is not None:
        yield fork.recipe
        fork = fork.begun_from


class _Distinct:
    """The vectors of distinct things, in the order in which they were met, in one file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._numbers: dict[bytes, int] = {}
        self._width = 0
        file.write_bytes(b"")

    def add(self, digests: Sequence[bytes], vectors: NDArray[np.float32]) -> list[int]:
        """The number of each; new ones are written down."""
        new = []
        for place, digest in enumerate(digests):
            if digest not in self._numbers:
                self._numbers[digest] = len(self._numbers)
                new.append(place)
        self._width = vectors.shape[1] or self._width
        with self._file.open("ab") as file:
            file.write(vectors[new].tobytes())
        return [self._numbers[digest] for digest in digests]

    def vectors(self) -> NDArray[np.float32]:
        """[n, H], mapped from the file."""
        import numpy as np

        if not self._numbers:
            return np.zeros((0, self._width), np.float32)
        mapped: NDArray[Any] = np.memmap(self._file, np.float32, "r", shape=(len(self._numbers), self._width))
        return mapped


def _matrix(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """A column of lists of one length as [n, H]."""
    import numpy as np

    values: NDArray[np.float32] = column.combine_chunks().flatten().to_numpy().astype(np.float32, copy=False)
    return values.reshape(len(column), -1) if len(column) else values.reshape(0, 0)
