"""Fetch the URLs of one part: hand them to an engine, judge each response body, spool the pictures.

Every URL ends with exactly one outcome, also where the engine fails to deliver it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from stages.download.engines import img2dataset
from stages.download.engines.interface import FetchEngine, FetchFailure, FetchTask
from stages.download.judge_picture import JudgedPicture, PictureJudge, PictureRule
from stages.download.reasons import Reason, RowError
from stages.download.spool import Spool, SpooledPicture

MAX_REMARKS: Final = 5
"""Remarks about unexplained failures that are kept of one part."""

RowOutcome: TypeAlias = SpooledPicture | Reason
"""How a row ended: with a picture, or with the reason why there is none."""


@dataclass(frozen=True, kw_only=True)
class FetchedPart:
    """The outcomes of one part's URLs, and the file that holds their pictures."""

    outcomes: list[RowOutcome]
    """One outcome for each URL, in the order of the URLs."""
    spool: Path
    remarks: list[str]
    """Words about the first few unexplained failures."""


def fetch_part(
    task: FetchTask, picture_rule: PictureRule, report: Callable[[int], None], engine: FetchEngine = img2dataset.fetch
) -> FetchedPart:
    """Fetch the URLs of a task; `report` is called with the number that have ended, after each.

    A URL that the engine did not deliver is `unexplained`. Raises `OSError` where scratch cannot hold the pictures.
    """
    path = task.scratch / "spool"
    with Spool(path) as spool:
        collector = _Collector(PictureJudge(picture_rule), spool, report)
        if task.urls:
            engine(task, collector.take)
    outcomes = [collector.outcomes.get(number, Reason.UNEXPLAINED) for number in range(len(task.urls))]
    return FetchedPart(outcomes=outcomes, spool=path, remarks=collector.remarks)


@dataclass
class _Collector:
    """Takes what the engine delivers, in the order in which the requests end."""

    judge: PictureJudge
    spool: Spool
    report: Callable[[int], None]
    outcomes: dict[int, RowOutcome] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def take(self, number: int, body: bytes | FetchFailure) -> None:
        """Record the outcome of URL `number`; a `Deliver`."""
        judged = body if isinstance(body, FetchFailure) else self._judged(body)
        if isinstance(judged, FetchFailure):
            self.outcomes[number] = judged.reason
            if judged.remark and len(self.remarks) < MAX_REMARKS:
                self.remarks.append(judged.remark)
        else:
            self.outcomes[number] = self.spool.add(judged)
        self.report(len(self.outcomes))

    def _judged(self, body: bytes) -> JudgedPicture | FetchFailure:
        try:
            return self.judge(body)
        except RowError as error:
            return FetchFailure(error.reason)
        except Exception as error:  # one picture that breaks a decoder must not fail the part
            return FetchFailure(Reason.UNEXPLAINED, f"{type(error).__name__}: {error}")
