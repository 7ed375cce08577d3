"""Make a bound step and everything it reads, one after the other, without a pipeline, a plan or a run.

For tests and notebooks: `cluster.local.make` adds the backend. What is committed is reused, as in any run.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

from stages.artifacts.artifact import Artifact, open_artifact
from stages.commit.attempt import AttemptId
from stages.commit.execute_step import OpenContext, execute_step
from stages.commit.inputs import keep_pin, pin_key
from stages.commit.step_spec import StepSpec
from stages.contract import PinnedSource, Post, Source, SourcePlace, Step, with_recipes, with_sources
from stages.contract.source import digest_of
from stages.store.metadata import open_store
from stages.store.store import Store

MadeT = TypeVar("MadeT", bound=Artifact)
StoreOrPlace: TypeAlias = "Store | str | Path"
"""A store, or the folder or URL of one."""


def make_steps(
    step: Step[MadeT],
    store: StoreOrPlace,
    open_context: OpenContext,
    post: Post,
    sources: Sequence[PinnedSource] = (),
) -> MadeT:
    """Make `step` after the steps that it reads; returns its artifact, opened as the kind that the stage makes.

    `sources` are those that the recipes name. Raises what a stage raises; what was committed before stays, and the
    next call reuses it.
    """
    opened = store if isinstance(store, Store) else Store(store)
    open_store(opened)
    digests = {source.name: digest_of(source.files) for source in sources}
    places: dict[str, SourcePlace] = {}
    for source in sources:
        key = pin_key(digests[source.name], source.files)
        keep_pin(opened, key, source.files)
        places[source.name] = SourcePlace(place=source.place, key=key)
    (step,) = with_recipes([step], lambda one: with_sources(one.recipe, partial(_with_digest, digests=digests)))
    # A name of its own for each call: claims tell two notebooks on one store apart by it.
    attempt = AttemptId(f"local-{uuid.uuid4().hex[:8]}", 1)
    for needed in step.walk():
        execute_step(StepSpec.of(needed, opened, attempt, places), open_context, post)
    return open_artifact(opened, step.stage.name, step.fingerprint, step.stage.makes)


def _with_digest(source: Source, digests: Mapping[str, str]) -> Source:
    return source.model_copy(update={"digest": digests.get(source.name, source.digest)})
