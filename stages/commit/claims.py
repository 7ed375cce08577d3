"""Claims: leases on the making of an artifact, without an expiry time, held for as long as their heartbeat moves.

Owns `claims/` below an artifact's folder. Claims are numbered, and the highest number holds the lease; taking over is
creating the next one. A claim saves work and decides nothing: of two attempts alive at once the later loses its
exclusive create, and an attempt that finds a higher claim than its own before a commit stops there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from stages.commit.attempt import AttemptId
from stages.commit.heartbeat import Heartbeat, Observer, ProcessMark, beat_seconds, lost_after_seconds
from stages.contract import InterruptedRunError, Post, StageError, StepWaiting, SupersededError
from stages.store.errors import TornRecordError
from stages.store.fault_points import fault_point
from stages.store.numbering import first_missing
from stages.store.record_kind import RecordKind
from stages.store.store import Store

DELETED_MARK = "collected.json"
"""Name of the mark, in an artifact's folder, that it is being deleted: an attempt that finds it stays away."""
logger = logging.getLogger(__name__)


class ClaimRecord(ProcessMark):
    """The attempt that makes the artifact, written when the claim is taken."""

    run: str
    attempt: str
    """Name of the attempt, `<run>-<number>`."""
    took_over: str = ""
    """Why the claim before it had lapsed; '' where it was released, or there was none."""

    @property
    def holder(self) -> str:
        """The attempt in words, for messages."""
        return f"attempt {self.attempt.rpartition('-')[2]} of run {self.run}"


class ClaimHeldError(Exception):
    """A living attempt holds the claim that was asked for."""

    def __init__(self, holder: ClaimRecord) -> None:
        super().__init__(f"{holder.holder} on {holder.host} is at work")
        self.holder = holder


CLAIM = RecordKind[ClaimRecord](
    ClaimRecord, "the record of a claim", "nothing depends on it: the next attempt takes a claim of its own"
)


@dataclass(frozen=True)
class Claim:
    """A claim that was taken. Small, and pickles: every worker and rank gets a copy."""

    store: Store
    folder: str
    """The artifact's key prefix."""
    number: int

    def superseded_by(self) -> str:
        """The attempt that took over, in words, or ''."""
        record = _record(self.store, self.folder, self.number + 1)
        return "" if record is None else record.holder

    def check(self, step: str) -> None:
        """Called before each commit. Raises `SupersededError` if another attempt took over."""
        if successor := self.superseded_by():
            raise SupersededError(superseded(step, successor))


def superseded(step: str, successor: str) -> str:
    """The message of an attempt that was overtaken."""
    return f"step {step!r}: superseded by {successor}; this attempt stops here and changes nothing"


@dataclass
class Claimant:
    """An attempt that asks for the claim on an artifact."""

    store: Store
    folder: str
    step: str
    attempt: AttemptId
    ended_attempts: frozenset[str] = frozenset()
    """Attempts of this run that have ended: their claims have lapsed, though their heartbeats may still move."""
    _num_claims: int = 0
    """Number of claims at the last look. It falls where they were deleted."""

    @cached_property
    def _observer(self) -> Observer:
        return Observer(self.store)

    @contextmanager
    def claim(self, post: Post, stop_asked: Callable[[], bool], is_made: Callable[[], bool]) -> Iterator[Claim | None]:
        """The claim, held inside the context; None where the artifact was made meanwhile.

        Waits while a living attempt holds it, and posts which. Raises `InterruptedRunError` where the run is asked to
        stop meanwhile.
        """
        claim = self._wait(post, stop_asked, is_made)
        if claim is None:
            yield None
            return
        with self._held(claim):
            yield claim

    @contextmanager
    def claim_of_ended(self) -> Iterator[Claim]:
        """The claim, held inside the context, where no attempt is at work. Raises `ClaimHeldError` where one is.

        An attempt on another machine that shows no sign of life is watched until its heartbeat counts as lost.
        """
        while not isinstance(claim := self._take(), Claim):
            beat = self._observer.look(_beat_key(self.folder, self._num_claims - 1))
            if beat.life_of(claim) == "alive":
                raise ClaimHeldError(claim)
            time.sleep(beat_seconds())
        with self._held(claim):
            yield claim

    @contextmanager
    def _held(self, claim: Claim) -> Iterator[None]:
        heartbeat = Heartbeat(self.store, _beat_key(self.folder, claim.number))
        try:
            yield
        finally:
            heartbeat.stop()
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
        """Take the next claim if the last has lapsed; else return the record of its holder."""
        # Claims 0 and 1 exist, 1 has lapsed: two attempts create claims/2.json, one wins, and the other goes round once
        # more, finds claim 2 alive and returns its record. The loop ends because each round sees one claim more.
        while True:
            self._num_claims += first_missing(lambda more: self._exists(self._num_claims + more))
            last = self._num_claims - 1
            record = _record(self.store, self.folder, last) if last >= 0 else None
            why_lapsed = self._why_lapsed(last, record) if record is not None else ""
            if why_lapsed is None and record is not None:
                return record
            ours = ClaimRecord(
                run=self.attempt.run, attempt=str(self.attempt), took_over=why_lapsed or "", **ProcessMark.here()
            )
            key = _key(self.folder, last + 1)
            with fault_point("claim.taken", key):
                is_ours = self.store.create_json(key, ours.model_dump(mode="json"))
            if is_ours and self._is_last(last + 1):
                return Claim(self.store, self.folder, last + 1)

    def _is_last(self, number: int) -> bool:
        """Whether a claim that was just taken is the last one and follows another; one that follows none is withdrawn.

        It is not while `delete_claims` is at work, and where that left the release of a claim of the same number.
        """
        if number and not self._exists(number - 1):
            key = _key(self.folder, number)
            with fault_point("claim.taken", key):
                self.store.delete(key)
            self._num_claims = 0
            return False
        was_released = self.store.size_bytes(_released_key(self.folder, number)) is not None
        return not was_released and not self._exists(number + 1)

    def _why_lapsed(self, number: int, record: ClaimRecord) -> str | None:
        """Why a claim has lapsed, '' where it was released; None while its holder may be at work."""
        if self.store.size_bytes(_released_key(self.folder, number)) is not None:
            return ""
        if record.attempt == str(self.attempt):
            return "the attempt itself began the step again"
        if record.is_gone:
            return f"the process of {record.holder} is gone"
        if record.attempt in self.ended_attempts:
            return f"{record.holder} has ended"
        if self._observer.look(_beat_key(self.folder, number)).is_lost:
            return f"{record.holder} had no heartbeat for {lost_after_seconds():g} s"
        return None

    def _exists(self, number: int) -> bool:
        return self.store.size_bytes(_key(self.folder, number)) is not None


def check_not_deleted(store: Store, folder: str, step: str) -> None:
    """Raises `StageError` where the deletion of an artifact was broken off: what is left of it is not whole."""
    if store.size_bytes(f"{folder}/{DELETED_MARK}") is not None:
        raise StageError(
            f"step {step!r}: the deletion of {folder} was broken off, and some of it is gone: `neo gc --delete` ends "
            "it; then run the command again"
        )


def delete_claims(store: Store, folder: str, last: int, delete: Callable[[str], None]) -> None:
    """Delete the claims up to number `last`, which was released, the newest first; none where there is a newer one.

    `delete` deletes one object. An attempt that takes a claim creates it and then looks for the one before; here one is
    deleted, and then it is looked for the one after. So one of the two notices the other.
    """
    # Claims 0 to 3 exist. An attempt that saw 3 released creates 4 after 3 is gone: it finds no 3, and withdraws 4. Or
    # it created 4 before: then 3 is put back, and all stay.
    for number in reversed(range(last + 1)):
        if store.size_bytes(_key(folder, number + 1)) is not None:
            return
        data = store.read(_key(folder, number)) or b"{}"
        for key in (_beat_key(folder, number), _key(folder, number)):
            delete(key)
        if store.size_bytes(_key(folder, number + 1)) is not None:
            with fault_point("claim.taken", _key(folder, number)):
                store.create(_released_key(folder, number), b"")
                store.create(_key(folder, number), data)
            return
        delete(_released_key(folder, number))


def claiming_runs(store: Store, folder: str) -> list[str]:
    """Names of the runs that claimed an artifact, each once, the last first. Claims that are torn count as none."""
    num_claims = first_missing(lambda number: store.size_bytes(_key(folder, number)) is not None)
    records = (_record(store, folder, number) for number in reversed(range(num_claims)))
    return list(dict.fromkeys(record.run for record in records if record is not None))


def _release(claim: Claim) -> None:
    """Let others take the claim at once. Where the store fails, they wait until its heartbeat counts as lost."""
    key = _released_key(claim.folder, claim.number)
    try:
        with fault_point("claim.released", key):
            claim.store.create(key, b"")
    except Exception:  # what ended the step is the error to report
        logger.info("%s could not be written", key, exc_info=True)


def _record(store: Store, folder: str, number: int) -> ClaimRecord | None:
    """A claim, or None. One that does not parse counts as none, because a claim decides nothing."""
    try:
        return CLAIM.read(store, _key(folder, number))
    except TornRecordError:
        return None


def _key(folder: str, number: int) -> str:
    return f"{folder}/claims/{number}.json"


def _beat_key(folder: str, number: int) -> str:
    return f"{folder}/claims/{number}.beat"


def _released_key(folder: str, number: int) -> str:
    return f"{folder}/claims/{number}.released"
