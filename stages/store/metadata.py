"""The metadata of a store: its uuid, the version of its layout and what it can do.

Owns `store.json`, written by the first command that opens a store, after a probe. Later commands only read it.
"""

from __future__ import annotations

import json
import uuid
from typing import Any, Final, Protocol

from pydantic import BaseModel, ConfigDict

from stages.store.errors import StoreError
from stages.store.fault_points import fault_point
from stages.store.probe import Probed, ProbeResult, probe
from stages.store.record_kind import RecordKind, RecordStore

LAYOUT_VERSION: Final = 2
"""Version of all keys and record formats. A store of another version is refused."""
METADATA_KEY: Final = "store.json"


class StoreMetadata(BaseModel):
    """The content of `store.json`."""

    model_config = ConfigDict(frozen=True)

    uuid: str
    layout: int
    probe: ProbeResult


REMEDY: Final = "put it back from a copy; without one, move it away: the next `neo run` writes it again"
METADATA = RecordKind[StoreMetadata](StoreMetadata, "what the store is and can do", REMEDY)
FIELDS = RecordKind[dict[str, Any]](dict[str, Any], METADATA.name, REMEDY)
"""The fields of `store.json` as plain values, whatever version wrote them."""


class Opened(RecordStore, Probed, Protocol):
    """What opening needs of a store."""


def open_store(store: Opened, *, single_writer: bool = False) -> StoreMetadata:
    """Read the store's metadata; a store without any is probed, and gets it.

    Raises `StoreError` on another layout, and where exclusive creates do not work, unless `single_writer` promises
    that never more than one command at a time writes there.
    """
    raw = FIELDS.read(store, METADATA_KEY) or _create(store)
    if raw.get("layout", LAYOUT_VERSION) != LAYOUT_VERSION:
        raise StoreError(
            f"{store.url} has layout {raw['layout']!r}; this version reads {LAYOUT_VERSION}: use another "
            "store, or the version that made this one"
        )
    metadata = METADATA.parsed(raw, f"{store.url}/{METADATA_KEY}")
    if metadata.probe.problem and not (metadata.probe.reads_back and single_writer):
        raise StoreError(f"the store {store.url} cannot be used: {metadata.probe.problem}")
    return metadata


def supports_conditional_writes(store: RecordStore) -> bool:
    """Whether exclusive creates work, as found by the probe; a store without metadata is taken to support them."""
    raw = FIELDS.read(store, METADATA_KEY)
    probed = {} if raw is None else raw.get("probe", {})
    return not isinstance(probed, dict) or bool(probed.get("exclusive_creates", True))


def readable_json(value: object) -> bytes:
    """A value as JSON for people: sorted keys, two spaces, UTF-8, no NaN."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _create(store: Opened) -> dict[str, Any]:
    metadata = StoreMetadata(uuid=str(uuid.uuid4()), layout=LAYOUT_VERSION, probe=probe(store))
    with fault_point("store.metadata_created"):
        store.create_conditionally(METADATA_KEY, readable_json(metadata.model_dump()))
    return FIELDS.read_existing(store, METADATA_KEY)  # that of the first, if another command opened the store meanwhile
