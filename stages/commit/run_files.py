"""Logs and pictures that a step keeps for people, under `runs/<run>/`. Nothing depends on them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.attempt import AttemptId
from stages.store.fault_points import fault_point
from stages.store.store import Store


@dataclass(frozen=True)
class RunFiles:
    """The files for people of one step in one attempt."""

    store: Store
    attempt: AttemptId
    step: str

    @classmethod
    def of(cls, writer: ArtifactWriter) -> RunFiles:
        """The run files of the step and the attempt that `writer` writes for."""
        return cls(writer.store, writer.attempt, writer.step)

    def keep_log(self, name: str, text: str) -> None:
        """Keep a text as `runs/<run>/logs/<attempt>/<step>.<name>.<n>.txt`, under the first free `n`."""
        for number in itertools.count():
            key = f"runs/{self.attempt.run}/logs/{self.attempt.number}/{self.step}.{name}.{number}.txt"
            with fault_point("log.kept", key):
                if self.store.create(key, text.encode()):
                    return

    def keep_picture(self, name: str, png: bytes) -> str:
        """Keep a picture as `runs/<run>/pictures/<attempt>/<step>.<name>.png`; returns its key.

        The first picture of a name stays; made again by a restarted rank, it is the same.
        """
        key = f"runs/{self.attempt.run}/pictures/{self.attempt.number}/{self.step}.{name}.png"
        with fault_point("log.kept", key):
            self.store.create(key, png)
        return key
