"""Runs as `neo list` shows them: the newest first, with times, who asked, the outcome and the best score.

All runs are read in brief, which costs a listing where they are settled. Of those that are shown, the records of their
attempts and the scores of their last step are read as well.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipelines.lineage.contents import evaluation_metrics
from pipelines.lineage.graph import best_examined
from pipelines.runs.in_brief import RUNS_AT_A_TIME, RunInBrief, runs_in_brief
from pipelines.runs.run import AttemptRecord, Run
from pipelines.runs.submissions import asked_by
from stages.artifacts.artifact import Artifact
from stages.artifacts.head import read_head
from stages.contract import StageError
from stages.store.errors import StoreError
from stages.store.store import Store

SCORES = ("accuracy", "score", "mra", "anls", "vqa_accuracy")
"""Metrics of an evaluation that say how good a model is, the first that there is."""


@dataclass(frozen=True)
class ListedRun:
    """A run in a list."""

    name: str
    pipeline: str
    state: str
    num_attempts: int
    began_seconds: float
    """Unix time at which its last attempt began; 0 without one."""
    seconds: float
    """How long its attempts worked, all together."""
    by: str
    """User and machine of its last attempt."""
    reason: str
    """Why its last attempt ended, if it is not done."""
    best: tuple[str, str, float] | None
    """Step, name and value of its best metric; None where no target was scored."""

    @property
    def best_in_words(self) -> str:
        """`evaluate: accuracy 0.967`; '' without a metric."""
        return f"{self.best[0]}: {self.best[1]} {self.best[2]:.3g}" if self.best else ""

    def document(self) -> dict[str, Any]:
        """The run for `--json`."""
        began = datetime.fromtimestamp(self.began_seconds, UTC).isoformat() if self.began_seconds else None
        best = dict(zip(("step", "metric", "value"), self.best, strict=True)) if self.best else None
        return {
            "run": self.name,
            "pipeline": self.pipeline,
            "state": self.state,
            "attempts": self.num_attempts,
            "began": began,
            "seconds": round(self.seconds, 3),
            "by": self.by,
            "reason": self.reason,
            "best": best,
        }


def listed_runs(store: Store, max_runs: int | None) -> tuple[list[ListedRun], int]:
    """The newest runs, all where `max_runs` is None; and how many there are."""
    brief = sorted(runs_in_brief(store, with_times=True), key=lambda one: (-one.begun_at_seconds, one.run.name))
    with ThreadPoolExecutor(RUNS_AT_A_TIME) as pool:
        return list(pool.map(_listed, brief[:max_runs])), len(brief)


def _listed(one: RunInBrief) -> ListedRun:
    run = one.run
    attempts, ends = run.first_attempts(one.num_attempts), run.ends(one.num_attempts)
    seconds = 0.0
    for attempt in attempts:
        end = ends[attempt.number - 1]
        if end is not None or one.state == "running":
            seconds += max(0.0, (end.stopped_at_seconds if end else time.time()) - attempt.at_seconds)
    last, last_end = (attempts[-1] if attempts else None), (ends[-1] if ends else None)
    return ListedRun(
        name=run.name,
        pipeline=run.name.rpartition("-")[0],
        state=one.state,
        num_attempts=one.num_attempts,
        began_seconds=one.begun_at_seconds,
        seconds=seconds,
        by=_by(run, last) if last else "",
        reason=last_end.reason if last_end and one.state != "done" else "",
        best=_best(run) if one.state == "done" else None,
    )


def _by(run: Run, attempt: AttemptRecord) -> str:
    """`user@host`: who asked for the attempt and the machine that drives it, as far as they are recorded."""
    origin = asked_by(run, attempt)
    return "@".join(filter(None, (origin.user if origin else "", attempt.host)))


def _best(run: Run) -> tuple[str, str, float] | None:
    """The score of the first target that has one: of an evaluation, or the loss of a training on held-out rows.

    What cannot be read has none here: `neo audit` is for damage.
    """
    try:
        targets = [run.request.step(name) for name in run.request.targets]
        for step in targets:
            head = read_head(run.store, step.stage, step.fingerprint)
            if head is None:
                continue
            artifact = Artifact(run.store, head)
            metrics = evaluation_metrics(artifact)
            if (score := next((name for name in SCORES if name in metrics), None)) is not None:
                return step.name, score, metrics[score]
            if (best := best_examined(artifact)) is not None and best["loss"] is not None:
                return step.name, "held-out loss", best["loss"]
    except (StoreError, StageError):
        return None
    return None
