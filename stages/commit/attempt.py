"""The name of one attempt at a run.

A run is started once and may be resumed: attempt 1, 2, 3, ... Keys and records spell it `<run>-<number>`, such as
`tiny-8a1b2c3d-2`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AttemptId:
    """Which attempt of which run."""

    run: str
    number: int

    def __str__(self) -> str:
        """The spelling in the store. A run's name may contain hyphens itself; the number is what follows the last."""
        return f"{self.run}-{self.number}"

    @classmethod
    def parse(cls, text: str) -> AttemptId:
        """Read `str(attempt)` back. Raises `ValueError` where the text does not end with a number."""
        run, _, number = text.rpartition("-")
        return cls(run, int(number))
