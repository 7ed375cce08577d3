"""Who makes an artifact now: numbered claims, each with a counter that shows life; others wait, or take over.

Owns `claims/` below an artifact's folder. The highest number holds; taking over is creating the next one. A claim saves
work, it does not decide: two attempts alive at once are harmless, since the later loses its exclusive create, and
whoever finds a higher claim than its own before a commit stops there and changes nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from pydantic import ValidationError

from stages.commit.attempt import AttemptId
from stages.commit.heartbeat import Heart, Observer, ProcessMark, beat_seconds, lost_after_seconds
from stages.contract import InterruptedRunError, Post, StepWaiting, SupersededError
from stages.store.errors import TornRecordError
from stages.store.fault_points import fault_point
from stages.store.numbering import first_missing
from stages.store.store import Store

logger = logging.getLogger(__name__)


class ClaimRecord(ProcessMark):
    """Who makes the artifact, written when the claim is taken."""

    run: str
    attempt: str
    """Run and number."""
    took_over: str = ""
    """Why the claim before it no longer counted; '' where it was released, or there was none."""

    @property
    def holder(self) -> str:
        return f"attempt {self.attempt.rpartition('-')[2]} of run {self.run}"


@dataclass(frozen=True)
class Claim:
    """A claim that was taken. Small, and pickles: whoever works under it carries a copy."""

    store: Store
    folder: str
    """The artifact's key prefix."""
    number: int

    def superseded_by(self) -> str:
        """Who took over, in words, or ''."""
        record = _record(self.store, self.folder, self.number + 1)
        return "" if record is None else record.holder

    def check(self, step: str) -> None:
        """To be called before each commit. Raises `SupersededError` where another attempt took over."""
        if successor := self.superseded_by():
            raise SupersededError(superseded(step, successor))


def superseded(step: str, successor: str) -> str:
    """What whoever was overtaken says."""
    return f"step {step!r}: superseded by {successor}; this attempt stops here and changes nothing"


@dataclass
class Claimant:
    """An attempt that wants to make an artifact."""

    store: Store
    folder: str
    step: str
    attempt: AttemptId
    ended_attempts: frozenset[str] = frozenset()
    """Attempts whose claims no longer count, though their processes may still beat."""
    _num_claims: int = 0
    """How many there were at the last look. They never become fewer."""

    @cached_property
    def _observer(self) -> Observer:
        return Observer(self.store)

    @contextmanager
    def claim(self, post: Post, stop_asked: Callable[[], bool], is_made: Callable[[], bool]) -> Iterator[Claim | None]:
        """The claim, held while inside; None where the artifact was made before it was needed.

        Waits while somebody alive holds it and posts for whom. Raises `InterruptedRunError` where the run is asked to
        stop meanwhile.
        """
        claim = self._wait(post, stop_asked, is_made)
        if claim is None:
            yield None
            return
        heart = Heart(self.store, _beat_key(self.folder, claim.number))
        try:
            yield claim
        finally:
            heart.stop()
            _release(claim)

    def _wait(self, post: Post, stop_asked: Callable[[], bool], is_made: Callable[[], bool]) -> Claim | None:
        waits_for = ""
        while not is_made():
            claim = self._take()
            if isinstance(claim, Claim):
                return claim
            if claim.holder != waits_for:
                waits_for = claim.holder
                post(StepWaiting(step=self.step, holder=claim.holder, host=claim.host))
            if stop_asked():
                raise InterruptedRunError(f"step {self.step!r}: stopped while it waited for {waits_for}")
            time.sleep(beat_seconds())
        return None

    def _take(self) -> Claim | ClaimRecord:
        """Take the next claim if the last no longer counts; else who holds that."""
        while True:
            self._num_claims += first_missing(lambda more: self._exists(self._num_claims + more))
            last = self._num_claims - 1
            record = _record(self.store, self.folder, last) if last >= 0 else None
            why_not = self._why_not_good(last, record) if record is not None else ""
            if why_not is None and record is not None:
                return record
            ours = ClaimRecord(
                run=self.attempt.run, attempt=str(self.attempt), took_over=why_not or "", **ProcessMark.here()
            )
            key = _key(self.folder, last + 1)
            with fault_point("claim.taken", key):
                is_ours = self.store.create_json(key, ours.model_dump(mode="json"))
            if is_ours:
                return Claim(self.store, self.folder, last + 1)

    def _why_not_good(self, number: int, record: ClaimRecord) -> str | None:
        """Why a claim no longer counts, '' where it was released; None while its holder may be at work."""
        if self.store.size_bytes(_released_key(self.folder, number)) is not None:
            return ""
        if record.attempt == str(self.attempt):
            return "the attempt itself began the step again"
        if record.is_gone:
            return f"the process of {record.holder} is gone"
        if record.attempt in self.ended_attempts:
            return f"{record.holder} has ended"
        if self._observer.look(_beat_key(self.folder, number)).is_lost:
            return f"{record.holder} gave no sign of life for {lost_after_seconds():g} s"
        return None

    def _exists(self, number: int) -> bool:
        return self.store.size_bytes(_key(self.folder, number)) is not None


def _release(claim: Claim) -> None:
    """Let others go on at once. Where the store does not take it, they wait until they know the holder dead."""
    key = _released_key(claim.folder, claim.number)
    try:
        with fault_point("claim.released", key):
            claim.store.create(key, b"")
    except Exception:  # whatever ends the step counts more
        logger.info("%s could not be written", key, exc_info=True)


def _record(store: Store, folder: str, number: int) -> ClaimRecord | None:
    """A claim, or None. One that does not parse is as good as none: it decides nothing."""
    try:
        raw = store.read_json(_key(folder, number))
        return None if raw is None else ClaimRecord.model_validate(raw)
    except (TornRecordError, ValidationError):
        return None


def _key(folder: str, number: int) -> str:
    return f"{folder}/claims/{number}.json"


def _beat_key(folder: str, number: int) -> str:
    return f"{folder}/claims/{number}.beat"


def _released_key(folder: str, number: int) -> str:
    return f"{folder}/claims/{number}.released"
