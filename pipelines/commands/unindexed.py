"""Says of an artifact whose tables are all read, because no index knows them, that this takes long."""

from __future__ import annotations

from typing import Final

from pipelines.commands.context import CommandContext
from stages.artifacts.head import ManifestHead

MANY_TABLES: Final = 64
"""An artifact with so many tables is named before they are read."""
HOW_TO_INDEX: Final = " has no index: its {num_tables} tables are read. `neo index` makes one."


def tell_reading(command: CommandContext, head: ManifestHead, named: str, words: str = HOW_TO_INDEX) -> None:
    """Say it before it begins, where it takes long. `words` follow what the artifact is called."""
    num_tables = head.last_phase.num_parts
    if num_tables >= MANY_TABLES:
        command.say(named + words.format(num_tables=f"{num_tables:,}"))
