"""What an artifact held of a list, on record: the parts that are made again without it, all others being taken over.

`neo takedown` and `neo run` find it and write it, once for an artifact and a list; the stage reads it.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.contract import StageError
from stages.store.record_kind import RecordKind
from stages.store.store import Store
from stages.takedowns.lists import FOLDER


class HeldParts(BaseModel):
    """What an artifact holds of a list."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_samples: int
    """Rows of its tables that are to be forgotten, those left out whose verdict stands in a later part."""
    num_kept: int
    """Those of them that were kept."""
    parts: tuple[str, ...]
    """Names of the parts whose tables have any row of them."""


HELD_PARTS = RecordKind[HeldParts](
    HeldParts, "what an artifact holds of a takedown", "move it away: the next `neo run` finds it again"
)


def held_key(list_sha256: str, stage: str, fingerprint: str) -> str:
    """Key of the record of one artifact and one list."""
    return f"{FOLDER}/held/{list_sha256}/{stage}-{fingerprint[:SHOWN_DIGITS]}.json"


def parts_that_hold(store: Store, lists: Iterable[str], stage: str, fingerprint: str) -> set[str]:
    """Names of the parts of an artifact that hold anything of these lists. Raises `StageError` if one is not known."""
    parts: set[str] = set()
    for one in lists:
        held = HELD_PARTS.read(store, held_key(one, stage, fingerprint))
        if held is None:
            raise StageError(
                f"what {stage}/{fingerprint[:SHOWN_DIGITS]} holds of the takedown {one[:SHOWN_DIGITS]} is not on "
                "record; `neo run` finds it before it begins"
            )
        parts.update(held.parts)
    return parts
