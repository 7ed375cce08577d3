"""Copies the weight files of a model folder, one part for each, and compares each with its pinned digest.

A copy that holds NaN or infinity is refused (`finite.py`).

A file is read once, in chunks of 16 MiB, and hashed on its way: memory does not grow with its size. An interrupted copy
resumes with the files that are not recorded yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from stages.artifacts.kinds import MODEL_PREFIX
from stages.artifacts.records import ItemBalance
from stages.contract import Part, PartDraft, PartTask, PinnedFile
from stages.model_folders.finite import check_finite
from stages.model_folders.folder import ForeignFolder
from stages.origins.files import copy_file

WEIGHTS_PHASE: Final = "weights"
"""The phase that copies the weight files of a model folder, one part for each."""


class WeightTask(PartTask):
    """Which weight file a part copies."""

    file: PinnedFile
    """The file as it was pinned."""


def weight_parts(folder: ForeignFolder, names: Sequence[str]) -> list[Part]:
    """A part for each weight file."""
    tasks = [WeightTask(file=folder.files[name]).dump() for name in names]
    return [Part(name=f"{number:05d}", task=task, num_items=1) for number, task in enumerate(tasks)]


def copy_weights(part: Part, draft: PartDraft, *, source: str, place: str, allow_non_finite: Sequence[str]) -> None:
    """Copy one weight file. Raises `StageError` where its bytes are not those that were pinned, or no numbers."""
    file = WeightTask.of(part).file
    target = draft.path(MODEL_PREFIX + file.path)
    copy_file(source, place, file, target)
    check_finite(target, allowed=allow_non_finite, what=f"source {source!r}")
    draft.count(ItemBalance(kept=1))
