"""Fetch the URLs of one part: hand them to an engine, judge each response body, spool the pictures.

Every URL ends with exactly one outcome, also where the engine fails to deliver it. A URL that stands in several places
is asked for once, and its picture is spooled once: the rows share the outcome.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias

from stages.download.engines import event_loop, img2dataset
from stages.download.engines.interface import EngineName, FetchEngine, FetchFailure, FetchTask
from stages.download.judge_picture import JudgedPicture, PictureJudge, PictureRule
from stages.download.manners.usage_terms import UsageTerms
from stages.download.reasons import Reason, RowError
from stages.download.spool import Spool, SpooledPicture

MAX_REMARKS: Final = 5
"""Remarks about unexplained failures that are kept of one part."""

ENGINES: Final[Mapping[EngineName, FetchEngine]] = {
    "event_loop": event_loop.fetch,
    "img2dataset": img2dataset.fetch,
}
RowOutcome: TypeAlias = SpooledPicture | Reason
"""How a row ended: with a picture, or with the reason why there is none."""


@dataclass(frozen=True, kw_only=True)
class FetchedPart:
    """The outcomes of one part's URLs, and the file that holds their pictures."""

    outcomes: list[RowOutcome]
    """One outcome for each URL, in the order of the URLs; those of equal URLs are one object."""
    terms: list[UsageTerms]
    """What was said about the use of each picture, in the order of the URLs."""
    spool: Path
    num_asked: int
    """How many different URLs were asked for."""
    asked_on: str
    """The day (UTC) on which the first URL was asked for, such as 2026-01-31; for the record, never for a table."""
    remarks: list[str]
    """Words about the first few unexplained failures."""


def fetch_part(
    task: FetchTask, picture_rule: PictureRule, report: Callable[[int], None], engine: FetchEngine = event_loop.fetch
) -> FetchedPart:
    """Fetch the URLs of a task, equal ones once; `report` is called with the number that have ended, after each.

    A URL that the engine did not deliver is `unexplained`. Raises `OSError` where scratch cannot hold the pictures.
    """
    path = task.scratch / "spool"
    asked_on = datetime.now(UTC).date().isoformat()
    places = Counter(task.urls)
    with Spool(path) as spool:
        collector = _Collector(PictureJudge(picture_rule), spool, report, list(places.values()))
        if places:
            engine(replace(task, urls=list(places)), collector.take)
    numbers = {url: number for number, url in enumerate(places)}
    asked = [numbers[url] for url in task.urls]
    return FetchedPart(
        outcomes=[collector.outcomes.get(number, Reason.UNEXPLAINED) for number in asked],
        terms=[collector.terms.get(number, UsageTerms()) for number in asked],
        spool=path,
        num_asked=len(places),
        asked_on=asked_on,
        remarks=collector.remarks,
    )


@dataclass
class _Collector:
    """Takes what the engine delivers, in the order in which the requests end."""

    judge: PictureJudge
    spool: Spool
    report: Callable[[int], None]
    places_of: list[int]
    """Number of places in which each URL stands, for `report`."""
    num_ended: int = 0
    outcomes: dict[int, RowOutcome] = field(default_factory=dict)
    terms: dict[int, UsageTerms] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def take(self, number: int, body: bytes | FetchFailure, terms: UsageTerms) -> None:
        """Record the outcome of URL `number`; a `Deliver`."""
        self.terms[number] = terms
        judged = body if isinstance(body, FetchFailure) else self._judged(body)
        if isinstance(judged, FetchFailure):
            self.outcomes[number] = judged.reason
            if judged.remark and len(self.remarks) < MAX_REMARKS:
                self.remarks.append(judged.remark)
        else:
            self.outcomes[number] = self.spool.add(judged)
        self.num_ended += self.places_of[number]
        self.report(self.num_ended)

    def _judged(self, body: bytes) -> JudgedPicture | FetchFailure:
        try:
            return self.judge(body)
        except RowError as error:
            return FetchFailure(error.reason)
        except Exception as error:  # one picture that breaks a decoder must not fail the part
            return FetchFailure(Reason.UNEXPLAINED, f"{type(error).__name__}: {error}")
