"""Make a bound step and everything it reads, one after the other, without a pipeline, a plan or a run.

For tests and notebooks: `cluster.local.make` adds the backend. What is committed is reused, as in any run.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TypeAlias, TypeVar

from stages.artifacts.artifact import Artifact, open_artifact
from stages.commit.attempt import AttemptId
from stages.commit.execute_step import OpenContext, execute_step
from stages.commit.step_spec import StepSpec
from stages.contract import Post, Step
from stages.store.metadata import open_store
from stages.store.store import Store

MadeT = TypeVar("MadeT", bound=Artifact)
StoreOrPlace: TypeAlias = "Store | str | Path"
"""A store, or the folder or URL of one."""


def make_steps(step: Step[MadeT], store: StoreOrPlace, open_context: OpenContext, post: Post) -> MadeT:
    """Make `step` after the steps that it reads; returns its artifact, opened as the kind that the stage makes.

    Raises what a stage raises; what was committed before stays, and the next call reuses it.
    """
    opened = store if isinstance(store, Store) else Store(store)
    open_store(opened)
    # A name of its own for each call: claims tell two notebooks on one store apart by it.
    attempt = AttemptId(f"local-{uuid.uuid4().hex[:8]}", 1)
    for needed in step.walk():
        execute_step(StepSpec.of(needed, opened, attempt), open_context, post)
    return open_artifact(opened, step.stage.name, step.fingerprint, step.stage.makes)
