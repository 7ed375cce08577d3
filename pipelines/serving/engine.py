"""The model at work for many requests: one thread, one continuous batch, requests in the order in which they came.

Owns the queue of requests and the thread that computes; no other thread touches the model. A request joins the batch
once there is room for its prompt and its longest answers; the first in the queue is never overtaken, so none waits for
ever. One prompt is computed between two tokens of the others. Pieces of answers are told as soon as they are certain.

Memory: the cache of the batch is bounded (`ContinuousBatch`), and so is the queue, by who submits. What fails for one
request ends that request alone. A failure of the model ends the requests of the batch with an error, and the next ones
begin with an empty batch; where not even that can be made, the device is lost and nothing is answered any more.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from neo_model.decoding.answer_text import AnswerText
from neo_model.decoding.continuous_batch import ContinuousBatch
from neo_model.inputs.conversation import special_ids

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from neo_model.generate import Prompt
    from neo_model.model import NeoModel
    from neo_model.sampling import Sampling

JOIN_SECONDS: Final = 30.0
"""How long the thread may take to end: the longest step, such as a long prompt on a CPU."""

STOPPING: Final = "the server is stopping"


@dataclass(frozen=True, kw_only=True)
class AnswerPiece:
    """Text that was added to one of the answers."""

    choice: int
    text: str


@dataclass(frozen=True, kw_only=True)
class AnswerEnd:
    """One of the answers is finished."""

    choice: int
    reason: Literal["stop", "length"]
    num_tokens: int
    """Tokens that were chosen for it, the one that ends the turn left out."""


@dataclass(frozen=True, kw_only=True)
class AnswerFailure:
    """No further piece of any of the answers comes."""

    message: str


AnswerEvent: TypeAlias = AnswerPiece | AnswerEnd | AnswerFailure


@dataclass(kw_only=True, eq=False)
class AnswerJob:
    """A prompt to be answered, and who is told."""

    prompt: Prompt
    max_new_tokens: int
    tell: Callable[[AnswerEvent], None]
    """Called from the thread of the engine; must return at once."""
    num_answers: int = 1
    sampling: Sampling | None = None
    stops: tuple[str, ...] = ()
    is_cancelled: bool = False
    """Set by `AnswerEngine.cancel`."""
    texts: dict[int, AnswerText] = field(default_factory=dict)
    """Unfinished answers by their number, once the job has joined the batch."""

    @property
    def max_tokens(self) -> int:
        """Slots that each of its answers may come to need."""
        return len(self.prompt.token_ids) + self.max_new_tokens


class _Key(NamedTuple):
    """One answer of a job, as a sequence of the batch."""

    job: AnswerJob
    choice: int


class AnswerEngine:
    """Answers jobs in a thread of its own, from `start` to `stop`."""

    def __init__(self, model: NeoModel, tokenizer: Tokenizer, *, max_cache_tokens: int, max_sequences: int) -> None:
        """At most `max_sequences` answers at a time, whose cache has at most `max_cache_tokens` slots in all."""
        self.max_sequences = max_sequences
        self._model = model
        self._tokenizer = tokenizer
        ids = special_ids(tokenizer)
        self._stop_ids = frozenset({ids.turn_end, ids.end_of_text})
        self._max_cache_tokens = max_cache_tokens
        self._batch: ContinuousBatch[_Key] = ContinuousBatch(model, max_cache_tokens=max_cache_tokens)
        self._waiting: deque[AnswerJob] = deque()
        self._changed = threading.Condition()
        self._is_stopping = False
        self.lost: str | None = None
        """Why nothing is answered any more; None as long as the device works."""
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)

    @property
    def num_waiting(self) -> int:
        """Jobs that have not joined the batch yet."""
        return len(self._waiting)

    @property
    def num_sequences(self) -> int:
        """Answers that are being made."""
        return len(self._batch.keys)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End after the step in progress. Jobs that are not finished are told so."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(JOIN_SECONDS)

    def submit(self, job: AnswerJob) -> None:
        """Put a job at the end of the queue; one that comes too late, or that never finds room, is told so."""
        if job.num_answers > self.max_sequences:
            told = f"{job.num_answers} answers to one request: at most {self.max_sequences} are made side by side"
            job.tell(AnswerFailure(message=told))
            return
        with self._changed:
            if not self._is_stopping and self.lost is None:
                self._waiting.append(job)
                self._changed.notify_all()
                return
        job.tell(AnswerFailure(message=self.lost or STOPPING))

    def cancel(self, job: AnswerJob) -> None:
        """Leave a job out: its sequences leave the batch before the next step. It is told nothing more."""
        with self._changed:
            job.is_cancelled = True
            self._changed.notify_all()

    def _run(self) -> None:
        while self._wait_for_work():
            try:
                self._drop_cancelled()
                self._join_next()
                self._step()
            except Exception as error:  # whatever a model or a device may raise: the server outlives it
                self._fail_batch(_failure(error))
                self._begin_batch()
        ended = AnswerFailure(message=self.lost or STOPPING)
        self._fail_batch(ended)
        with self._changed:
            waiting, self._waiting = self._waiting, deque()
        for job in waiting:
            job.tell(ended)

    def _wait_for_work(self) -> bool:
        """Wait until there is something to compute; False once the engine is to stop, or the device is lost."""
        with self._changed:
            while not (self._is_stopping or self.lost or self._waiting or self._batch.keys):
                self._changed.wait()
            return not (self._is_stopping or self.lost)

    def _drop_cancelled(self) -> None:
        with self._changed:
            self._waiting = deque(job for job in self._waiting if not job.is_cancelled)
        self._batch.leave({key for key in self._batch.keys if key.job.is_cancelled})

    def _join_next(self) -> None:
        """Let the first job of the queue join, if there is room for it."""
        with self._changed:
            job = self._waiting[0] if self._waiting else None
            if job is None or self.num_sequences + job.num_answers > self.max_sequences:
                return
            if not self._batch.has_room(job.max_tokens, job.num_answers) and self._batch.keys:
                return
            self._waiting.popleft()
        keys = [_Key(job, choice) for choice in range(job.num_answers)]
        try:
            self._batch.join(job.prompt, keys, max_new_tokens=job.max_new_tokens, sampling=job.sampling)
        except Exception as error:  # its prompt alone, such as one that the device has no memory for
            job.tell(_failure(error))
            if not self._batch.keys:
                self._begin_batch()
            return
        job.texts = {choice: AnswerText(self._tokenizer, job.stops) for choice in range(job.num_answers)}

    def _step(self) -> None:
        """Add a token to each answer; those that are finished leave, and all answers of a job of which one fails."""
        chosen, finished = self._batch.choose(), set[_Key]()
        failed = {key.job: error for key, error in self._batch.failures.items()}
        for key, token in chosen:
            try:
                if key.job not in failed and self._add(key, token):
                    finished.add(key)
            except Exception as error:  # of this answer alone, such as a token that the tokenizer does not have
                failed[key.job] = error
        for job, why in failed.items():
            job.tell(_failure(why))
        self._batch.leave({key for key in self._batch.keys if key in finished or key.job in failed})
        self._batch.advance()

    def _add(self, key: _Key, token: int) -> bool:
        """Add a token to an answer; whether it is then finished."""
        job, choice = key
        answer = job.texts[choice]
        ends_turn = token in self._stop_ids
        text = "" if ends_turn else answer.add(token)
        ends = ends_turn or answer.is_stopped
        is_finished = ends or answer.num_tokens == job.max_new_tokens
        text += answer.end() if is_finished else ""
        if text:
            job.tell(AnswerPiece(choice=choice, text=text))
        if is_finished:
            job.tell(AnswerEnd(choice=choice, reason="stop" if ends else "length", num_tokens=answer.num_tokens))
        return is_finished

    def _fail_batch(self, failure: AnswerFailure) -> None:
        """Tell the jobs of the batch that they failed; it is then empty."""
        jobs = {key.job: None for key in self._batch.keys}
        self._batch.forget()
        for job in jobs:
            job.tell(failure)

    def _begin_batch(self) -> None:
        try:
            self._batch = ContinuousBatch(self._model, max_cache_tokens=self._max_cache_tokens)
        except Exception as error:  # a lost device does not come back within a process
            with self._changed:
                self.lost = f"the device is lost, start the server again: {type(error).__name__}: {error}"


def _failure(error: Exception) -> AnswerFailure:
    return AnswerFailure(message=f"the model failed: {type(error).__name__}: {error}")
