"""What travels to the process that makes a step: plain values and the stage itself, frozen at submission."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stages.artifacts.manifest import artifact_folder
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.attempt import AttemptId
from stages.commit.claims import Claimant
from stages.contract import (
    USER_FILE_PREFIX,
    Fork,
    Recipe,
    SourcePlace,
    Stage,
    Step,
    UserFile,
    installed,
    load_carried,
)
from stages.store.store import Store


@dataclass(frozen=True)
class StepSpec:
    """What to make, frozen at submission: plain values and the stage itself."""

    step: str
    stage: Stage[Any]
    recipe: Recipe
    fingerprint: str
    inputs: Mapping[str, tuple[str, str]]
    """Input name to (stage name, fingerprint) of the artifact it reads."""
    store: Store
    attempt: AttemptId
    conduct_inputs: tuple[str, ...] = ()
    """Names of the inputs that take no part in the fingerprint."""
    fork: Fork | None = None
    """The checkpoint that a training begins from; None for step 0."""
    earlier: tuple[str, ...] = ()
    """Fingerprints of what the stage may have made before its inputs grew, the newest first."""
    remade_of: str = ""
    """Fingerprint of what the step made before something of it was taken down; '' for another step."""
    places: Mapping[str, SourcePlace] = field(default_factory=dict)
    """Source name to where its files lie, for the sources of the recipe."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    allows_rollback: bool = False
    """Whether training may continue from an earlier checkpoint if the newest is damaged."""
    ended_attempts: frozenset[str] = frozenset()
    """Attempts of this run that have ended: their claims are not waited for."""

    def __reduce_ex__(self, protocol: Any) -> str | tuple[Any, ...]:
        """Travel together with the user's code that the stage and the recipe refer to."""
        if self.user_file is None:
            return super().__reduce_ex__(protocol)
        return _unpickled, (self.user_file, pickle.dumps(self.__dict__))

    @property
    def user_file(self) -> UserFile | None:
        """The user's file that the stage, its recipe or the kind that it makes comes from; None if there is none."""
        return next((file for name in sorted(self._own_modules) if (file := installed(name)) is not None), None)

    @classmethod
    def of(
        cls, step: Step[Any], store: Store, attempt: AttemptId, places: Mapping[str, SourcePlace] | None = None
    ) -> StepSpec:
        """The spec of a bound step whose inputs are those of the steps that it reads."""
        return cls(
            step=step.name,
            stage=step.stage,
            recipe=step.recipe,
            fingerprint=step.fingerprint,
            inputs={name: (made.stage.name, made.fingerprint) for name, made in step.edges.items()},
            conduct_inputs=step.stage.conduct_edges(step.edges),
            fork=step.fork,
            earlier=step.earlier,
            store=store,
            attempt=attempt,
            places=places or {},
        )

    @property
    def user_modules(self) -> set[str]:
        """Modules of a user's own file that other machines cannot import, because they were loaded in another way."""
        return {name for name in self._own_modules if installed(name) is None}

    @property
    def _own_modules(self) -> set[str]:
        names = {self.stage.function.__module__, type(self.recipe).__module__, self.stage.makes.__module__}
        return {name for name in names if name.startswith(USER_FILE_PREFIX)}

    @property
    def folder(self) -> str:
        """The artifact's key prefix."""
        return artifact_folder(self.stage.name, self.fingerprint)

    @property
    def writer(self) -> ArtifactWriter:
        """Access to the artifact, without a claim."""
        return ArtifactWriter(
            store=self.store,
            folder=self.folder,
            step=self.step,
            attempt=self.attempt,
            allows_rollback=self.allows_rollback,
            user_file=self.user_file,
            fork=self.fork,
        )

    @property
    def claimant(self) -> Claimant:
        return Claimant(self.store, self.folder, self.step, self.attempt, self.ended_attempts)


def _unpickled(file: UserFile, data: bytes) -> StepSpec:
    return StepSpec(**load_carried(file, data))
