"""Numbers that an estimate assumes, because they are not known before training."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Final

from pipelines.exits import BadCommandError

UNBOUNDED: Final = ("document_tokens", "host_gb_per_second", "link_gb_per_second")
"""Assumptions that are no shares, and may be above 1."""


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """Numbers that are not known before training. Each can be set: `--assume mfu=0.35`."""

    mfu: float = 0.4
    """Model FLOPs utilisation: the model's FLOPs per second of wall time, pauses included, over the GPUs' peak rate.
    What activation checkpointing recomputes is counted beside it, at the same rate."""
    fill: float = 0.98
    """Tokens of a packed row over its capacity, if the rows are not packed yet."""
    document_tokens: float = 1024.0
    """Tokens of a document, if the rows are not packed yet; the cost of attention grows with their square."""
    image_share: float = 0.5
    """Share of visual tokens among all tokens, if the rows are not packed yet."""
    supervised_share: float = 0.3
    """Share of the tokens that the loss is computed on."""
    host_gb_per_second: float = 20.0
    """GB of host memory that one rank's CPUs read and write in a second, where its optimizer lies there."""
    link_gb_per_second: float = 200.0
    """GB that one rank sends in a second to those that share its rows, where ranks do; while it sends, it waits."""

    @classmethod
    def read(cls, settings: Collection[str]) -> Assumptions:
        """The defaults with changes such as `mfu=0.35`. Raises `BadCommandError` for a wrong name or number."""
        return replace(cls(), **dict(cls._read_one(setting) for setting in settings))

    @classmethod
    def _read_one(cls, setting: str) -> tuple[str, float]:
        names = [field.name for field in fields(cls)]
        name, _, text = setting.partition("=")
        most = float("inf") if name in UNBOUNDED else 1.0
        try:
            value, trouble = float(text), f"it must lie above 0, at most {most:g}"
        except ValueError:
            value, trouble = 0.0, f"{text!r} is not a number"
        if name not in names:
            trouble = f"nothing is assumed by that name; assumed are {', '.join(names)}"
        if name not in names or not 0 < value <= most:
            raise BadCommandError(f"--assume {setting}: {trouble}", then="neo estimate --help")
        return name, value
