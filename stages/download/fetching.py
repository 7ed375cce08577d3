"""Fetch the URLs of one part: hand them to an engine, judge each response body, spool the pictures.

Every URL ends with exactly one outcome, also where the engine fails to deliver it. A URL that stands in several places
is asked for once, and its picture is spooled once: the rows share the outcome.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Final, TypeAlias

from stages.download.engines import event_loop, img2dataset
from stages.download.engines.interface import EngineName, FetchEngine, FetchFailure, FetchTask
from stages.download.judge_picture import JudgedPicture, PictureJudge, PictureRule
from stages.download.manners.usage_terms import UsageTerms
from stages.download.reasons import Reason, RowError
from stages.download.spool import Spool, SpooledPicture
from stages.download.url_rows import ExpectedHash
from stages.surfaces.visible import bounded

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
    task: FetchTask,
    picture_rule: PictureRule,
    report: Callable[[int], None],
    engine: FetchEngine = event_loop.fetch,
    expected: Sequence[ExpectedHash | None] = (),
) -> FetchedPart:
    """Fetch the URLs of a task, equal ones once; `report` is called with the number that have ended, after each.

    `expected` has the hash that the body of each URL is to have, if any; equal URLs may have different ones. A URL that
    the engine did not deliver is `unexplained`. Raises `OSError` where scratch cannot hold the pictures.
    """
    path = task.scratch / "spool"
    asked_on = datetime.now(UTC).date().isoformat()
    places = Counter(task.urls)
    numbers = {url: number for number, url in enumerate(places)}
    with Spool(path) as spool:
        collector = _Collector(PictureJudge(picture_rule), spool, report, list(places.values()))
        for url, one in zip(task.urls, expected, strict=False):
            if one is not None:
                collector.expected.setdefault(numbers[url], set()).add(one)
        if places:
            engine(replace(task, urls=list(places)), collector.take)
    asked = [numbers[url] for url in task.urls]
    return FetchedPart(
        outcomes=[
            Reason.HASH_MISMATCH if one in collector.mismatched.get(number, ()) else collector.outcome_of(number)
            for number, one in zip_longest(asked, expected)
        ],
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
    expected: dict[int, set[ExpectedHash]] = field(default_factory=dict)
    """Number of a URL to the hashes that its places expect of its body."""
    mismatched: dict[int, set[ExpectedHash | None]] = field(default_factory=dict)
    """Number of a URL to those of them that its body does not have."""
    remarks: list[str] = field(default_factory=list)

    def take(self, number: int, body: bytes | FetchFailure, terms: UsageTerms) -> None:
        """Record the outcome of URL `number`; a `Deliver`."""
        self.terms[number] = terms
        if number in self.expected and not isinstance(body, FetchFailure):
            self.mismatched[number] = {one for one in self.expected[number] if not one.is_of(body)}
        judged = body if isinstance(body, FetchFailure) else self._judged(body)
        if isinstance(judged, FetchFailure):
            self.outcomes[number] = judged.reason
            if judged.remark and len(self.remarks) < MAX_REMARKS:
                self.remarks.append(bounded(judged.remark))
        else:
            self.outcomes[number] = self.spool.add(judged)
        self.num_ended += self.places_of[number]
        self.report(self.num_ended)

    def outcome_of(self, number: int) -> RowOutcome:
        """How URL `number` ended; `unexplained` where nothing was delivered."""
        return self.outcomes.get(number, Reason.UNEXPLAINED)

    def _judged(self, body: bytes) -> JudgedPicture | FetchFailure:
        try:
            return self.judge(body)
        except RowError as error:
            return FetchFailure(error.reason)
        except Exception as error:  # one picture that breaks a decoder must not fail the part
            return FetchFailure(Reason.UNEXPLAINED, f"{type(error).__name__}: {error}")
