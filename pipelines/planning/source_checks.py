"""Whether sources are still what they were pinned as: before a plan is shown, and before a frozen run continues."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from pipelines.exits import RefusedError, ResumeRefusedError
from pipelines.planning.request import Request
from pipelines.planning.sources import DefinedSource, Definitions
from stages.commit.inputs import kept_files
from stages.contract import StageError
from stages.origins.changes import Thoroughness, changed_files, differences
from stages.origins.pinning import Pin
from stages.store.errors import StoreError
from stages.store.store import Store

MAX_BYTES_COMPARED = 2**30
"""Bytes of files that planning reads to see whether they changed; above it, it compares sizes and known digests."""


def check_unchanged(definitions: Definitions, request: Request, to_make: Collection[str], pipeline: str) -> None:
    """Raises `RefusedError`, naming the files, if a source of the request is not what was pinned.

    Where the site says that the files lie elsewhere, they are compared there, if that is a folder on this machine. A
    place that cannot be looked at is refused only where a step that is to be made reads it.
    """
    needed = {name for step in request.steps if step.name in to_make for name in step.sources}
    for name in request.sources:
        defined = definitions.by_name[name]
        if defined.pin is None:
            continue
        try:
            lines = _differences(defined, defined.pin, definitions.places.get(name))
        except (StageError, StoreError, OSError) as error:
            if name not in needed:
                continue
            raise RefusedError(f"source {name!r} cannot be looked at: {error}", then=f"neo plan {pipeline}") from error
        if lines:
            raise RefusedError(
                f"source {name!r} changed since it was pinned: {'; '.join(lines)}. Put the files back, or pin them as "
                "they are now: what was made from them is then made again",
                then=f"neo pin {pipeline}",
            )


def check_frozen_sources(
    request: Request, to_make: Collection[str], store: Store, places: Mapping[str, str], then: str
) -> None:
    """Raises `ResumeRefusedError`, naming the files, if a local source that a frozen run still reads has changed."""
    for name in {name for step in request.steps if step.name in to_make for name in step.sources}:
        source = request.sources.get(name)
        files = None if source is None else kept_files(store, source.key)
        if source is None or files is None:
            continue
        place = places.get(name) or source.place
        if not Path(place).is_dir():  # not on this machine; the stage that reads it says so if it is nowhere
            continue
        if lines := changed_files(place, files, Thoroughness(max_bytes=MAX_BYTES_COMPARED)):
            raise ResumeRefusedError(
                f"source {name!r} changed since run {request.run} was frozen: {'; '.join(lines)}. Put the files back, "
                "or run the pipeline with the files as they are now",
                then=then,
            )


def _differences(defined: DefinedSource, pin: Pin, place: str | None) -> list[str]:
    how = Thoroughness(max_bytes=MAX_BYTES_COMPARED)
    if place is None:
        return differences(pin, defined.folder, how)
    return changed_files(place, pin.files, how) if Path(place).is_dir() else []
