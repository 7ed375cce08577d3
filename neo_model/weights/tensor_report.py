"""One error that lists every missing, unknown and misshapen tensor of a set.

Owns the comparison of names and shapes that each reader and merger of tensors makes before it uses any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

MAX_NAMES: Final = 6
"""Names listed for each fault before the rest are counted."""


class HasShape(Protocol):
    """A tensor, or the description of one."""

    @property
    def shape(self) -> Sequence[int]:
        """Length of each dimension."""


class TensorMismatchError(ValueError):
    """Unknown, missing or misshapen tensors, all of them in one message."""


def check_tensors(tensors: Mapping[str, HasShape], expected: Mapping[str, Sequence[int]], *, what: str) -> None:
    """Raise TensorMismatchError unless `tensors` has exactly the expected names and shapes."""
    misshapen = [
        f"{name} is {tuple(tensors[name].shape)}, expected {tuple(shape)}"
        for name, shape in expected.items()
        if name in tensors and tuple(tensors[name].shape) != tuple(shape)
    ]
    faults = {
        "missing": [name for name in expected if name not in tensors],
        "unknown": [name for name in tensors if name not in expected],
        "misshapen": misshapen,
    }
    if any(faults.values()):
        listed = "; ".join(f"{len(names)} {fault}: {_some(names)}" for fault, names in faults.items() if names)
        raise TensorMismatchError(f"{what} does not fit its configuration: {listed}")


def _some(names: Iterable[str]) -> str:
    names = list(names)
    rest = [f"and {len(names) - MAX_NAMES} more"] if len(names) > MAX_NAMES else []
    return ", ".join([*names[:MAX_NAMES], *rest])
