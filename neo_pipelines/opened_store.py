"""A store, opened for reading: what is in it by the names that the command line takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cluster.site import load_site
from neo_pipelines.made import Made
from pipelines.exits import BadCommandError, RefusedError
from pipelines.runs.refs import resolve_artifact
from stages.artifacts.artifact import Artifact, open_artifact
from stages.store.refs import OF_ARTIFACT, read_ref
from stages.store.store import Store


@dataclass(frozen=True)
class OpenedStore:
    """Finds what was made. Nothing is read before it is asked for, and nothing is ever written."""

    store: Store = field(repr=False)

    def __repr__(self) -> str:
        return f"OpenedStore({self.store.url!r})"

    def __getitem__(self, ref: str) -> Made:
        """What a name such as `tiny/evaluate`, a run, or the beginning of a fingerprint names, as on the command line.

        Raises `BadCommandError` where that is nothing or several, and `StoreError` where it is not committed.
        """
        return Made(open_artifact(self.store, *resolve_artifact(self.store, ref), Artifact))

    def __contains__(self, ref: str) -> bool:
        try:
            resolve_artifact(self.store, ref)
        except BadCommandError:
            return False
        return True

    def names(self) -> Iterator[str]:
        """All names of artifacts, `pipeline/step`, in order. Lists the store."""
        for pipeline in self.store.folders("refs/"):
            for step in self.store.folders(f"refs/{pipeline}/"):
                if read_ref(self.store, f"{pipeline}/{step}", OF_ARTIFACT) is not None:
                    yield f"{pipeline}/{step}"


def open_store(place: str | Path | None = None, *, site: str | Path | None = None) -> OpenedStore:
    """Open a store: a folder or a URL such as `s3://bucket/prefix`, or that of a site (`$NEO_SITE`, else this machine).

    Raises `SiteError` for a site that cannot be read, and `RefusedError` for a folder that is not there.
    """
    if place is not None and site is not None:
        raise BadCommandError(f"{place} and site {site}: name a place or a site, not both", then="neo list")
    store = Store(load_site(site).store if place is None else place)
    if store.folder is not None and not store.folder.is_dir():
        raise RefusedError(f"there is no store at {store.folder}", then="neo list")
    return OpenedStore(store)
