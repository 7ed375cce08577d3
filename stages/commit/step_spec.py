"""What travels to the process that makes a step: plain values and the stage itself, frozen at submission."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stages.artifacts.manifest import artifact_folder
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.attempt import AttemptId
from stages.commit.claims import Claimant
from stages.contract import USER_FILE_PREFIX, Recipe, Stage, Step
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
    provenance: Mapping[str, Any] = field(default_factory=dict)
    allows_rollback: bool = False
    """Whether training may continue from an earlier checkpoint if the newest is damaged."""
    ended_attempts: frozenset[str] = frozenset()
    """Attempts of this run that have ended: their claims are not waited for."""

    @classmethod
    def of(cls, step: Step[Any], store: Store, attempt: AttemptId) -> StepSpec:
        """The spec of a bound step whose inputs are those of the steps that it reads."""
        return cls(
            step=step.name,
            stage=step.stage,
            recipe=step.recipe,
            fingerprint=step.fingerprint,
            inputs={name: (made.stage.name, made.fingerprint) for name, made in step.edges.items()},
            store=store,
            attempt=attempt,
        )

    @property
    def user_modules(self) -> set[str]:
        """Names of the modules of a user's own file that this spec needs: other machines do not have them."""
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
        )

    @property
    def claimant(self) -> Claimant:
        return Claimant(self.store, self.folder, self.step, self.attempt, self.ended_attempts)
