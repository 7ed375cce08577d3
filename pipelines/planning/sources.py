"""What the sources of a pipeline are: where their files lie, what is in them, and whether that changed.

`sources.toml` and `sources.lock` lie beside the pipeline's file; of a shipped pipeline, in the current folder, and
after that beside the shipped pipelines. A site may name other places for the same files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from pipelines.planning.catalog import RECIPES_FOLDER, AnyStep, Pipeline, suggestion
from pipelines.planning.source_files import DEFINITIONS, SourceEntry, read_entries, read_lock
from stages.commit.inputs import pin_key
from stages.contract import Source, SourcePlace, sources_in, with_recipes, with_sources
from stages.origins.pinning import Pin


class PlannedSource(BaseModel):
    """A source of a request: what it is, and where it lies. Only the digest is identity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: tuple[str, ...]
    place: str
    """Folder or URL below which the files lie."""
    digest: str
    num_files: int
    size_bytes: int
    num_rows: int | None = None
    commit: str | None = None
    """Commit of a hub's repository, 40 hex digits; None for other places."""
    key: str
    """Key in the store of the list of its files."""
    pin: Pin | None = Field(default=None, exclude=True, repr=False)
    """The files, where the request was just made; a run keeps them in the store instead."""

    def seen_from(self, places: Mapping[str, str], name: str) -> SourcePlace:
        """Where a step finds the files: where the site says now, else where they lay when the plan was made."""
        return SourcePlace(place=places.get(name) or self.place, key=self.key)


@dataclass(frozen=True)
class DefinedSource:
    """A source that `sources.toml` defines."""

    name: str
    entry: SourceEntry
    folder: Path
    """Folder of the `sources.toml` that defines it, to which paths are relative."""
    pin: Pin | None
    """What `sources.lock` keeps of it; None where it was not pinned, or its URIs are others now."""


@dataclass(frozen=True)
class Definitions:
    """The sources that are defined for a pipeline."""

    folders: tuple[Path, ...]
    """Folders that were looked into, the first one counts most."""
    by_name: Mapping[str, DefinedSource]
    places: Mapping[str, str] = field(default_factory=dict)
    """Source name to the place where the site says that its files lie."""

    def planned(self, name: str) -> PlannedSource | None:
        """The source as a request keeps it; None if it is not defined or not pinned."""
        defined = self.by_name.get(name)
        if defined is None or defined.pin is None:
            return None
        pin, place = defined.pin, self.places.get(name)
        if place is not None:  # entity tags belong to the place that was pinned
            untagged = tuple(file.model_copy(update={"etag": ""}) for file in pin.files)
            pin = pin.model_copy(update={"files": untagged})
        return PlannedSource(
            uri=pin.uri,
            place=place or pin.place_from(defined.folder),
            digest=pin.digest,
            num_files=len(pin.files),
            size_bytes=pin.size_bytes,
            num_rows=pin.num_rows,
            commit=pin.commit,
            key=pin_key(pin.digest, pin.files),
            pin=pin,
        )

    def why_not_planned(self, names: Sequence[str], pipeline: str) -> list[str]:
        """Why these sources cannot be read yet and what to do: a sentence for those that nothing defines, and one for
        those that are not pinned."""
        undefined = [name for name in names if name not in self.by_name]
        unpinned = [name for name in names if name in self.by_name]
        sentences = []
        if undefined:
            near = suggestion(undefined[0], list(self.by_name)) if len(undefined) == 1 else ""
            lie, others = ("lies", "") if len(undefined) == 1 else ("lie", ", and one for each of the others")
            table = f'a table [{undefined[0]}] with uri = "..."'
            file = self.folders[0] / DEFINITIONS
            sentences.append(f"nothing says where {_sources(undefined)} {lie}{near}: add {table} to {file}{others}")
        if unpinned:
            are = "is" if len(unpinned) == 1 else "are"
            sentences.append(f"{_sources(unpinned)} {are} not pinned: neo pin {pipeline}")
        return sentences


def load_definitions(pipeline: Pipeline, places: Mapping[str, str]) -> Definitions:
    """The definitions of a pipeline's sources, with their pins. `places` are those that the site names.

    Raises `BadCommandError` for a file that cannot be read.
    """
    file = pipeline.user_file
    folders = (Path(file.path).parent,) if file is not None else (Path.cwd(), RECIPES_FOLDER)
    by_name: dict[str, DefinedSource] = {}
    for folder in folders:
        pins = read_lock(folder)
        for name, entry in read_entries(folder).items():
            pin = pins.get(name)
            is_same = pin is not None and pin.uri == entry.uri
            by_name.setdefault(name, DefinedSource(name, entry, folder, pin if is_same else None))
    return Definitions(folders, by_name, places)


def sources_of(steps: Sequence[AnyStep]) -> dict[str, Source]:
    """The sources that the recipes of these steps name, by name."""
    return {source.name: source for step in steps for source in sources_in(step.recipe)}


def with_pins(pipeline: Pipeline, definitions: Definitions) -> tuple[Pipeline, dict[str, PlannedSource]]:
    """The pipeline with the digests of its pinned sources, and those sources by name."""
    planned = {name: definitions.planned(name) for name in sources_of(list(pipeline.steps.values()))}
    pinned = {name: source for name, source in planned.items() if source is not None}
    if not pinned:
        return pipeline, {}

    def filled(source: Source) -> Source:
        known = pinned.get(source.name)
        return source if known is None else source.model_copy(update={"digest": known.digest})

    targets = with_recipes(pipeline.targets, lambda step: with_sources(step.recipe, filled))
    return Pipeline(pipeline.name, pipeline.request, targets, pipeline.user_file), pinned


def _sources(names: Sequence[str]) -> str:
    return f"source{'' if len(names) == 1 else 's'} {', '.join(map(repr, names))}"
