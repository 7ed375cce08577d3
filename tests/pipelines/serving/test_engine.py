"""The thread that answers: in order, without one request waiting for ever, and told of every end."""

from __future__ import annotations

import threading

import pytest

from neo_model.decoding.answer_text import AnswerText
from neo_model.generate import Prompt
from neo_model.sampling import Sampler, Sampling
from pipelines.serving import engine as engine_module
from pipelines.serving.engine import AnswerEnd, AnswerEngine, AnswerEvent, AnswerFailure, AnswerJob, AnswerPiece
from tests.pipelines.serving.conftest import Loaded
from tests.pipelines.serving.served_models import until


class Listener:
    """Keeps what an engine tells."""

    def __init__(self, number: int, order: list[int]) -> None:
        self.events: list[AnswerEvent] = []
        self._number, self._order = number, order

    def __call__(self, event: AnswerEvent) -> None:
        if not self.events:
            self._order.append(self._number)
        self.events.append(event)

    @property
    def ends(self) -> list[AnswerEvent]:
        return [event for event in self.events if not isinstance(event, AnswerPiece)]


def job(length: int, tell: Listener, *, most: int = 20, number: int = 1) -> AnswerJob:
    sampling = Sampling(seed=1) if number > 1 else None
    prompt = Prompt(token_ids=[*range(10, 10 + length)])
    return AnswerJob(prompt=prompt, max_new_tokens=most, tell=tell, num_answers=number, sampling=sampling)


def test_a_large_request_is_not_overtaken(talker: Loaded) -> None:
    """Two small ones fill the batch; a large one waits for both, and the small ones after it wait for it."""
    engine, order = AnswerEngine(*talker, max_cache_tokens=120, max_sequences=4), list[int]()
    listeners = [Listener(number, order) for number in range(6)]
    lengths = [20, 20, 80, 20, 20, 20]
    for length, listener in zip(lengths, listeners, strict=True):
        engine.submit(job(length, listener))
    assert engine.num_waiting == 6
    engine.start()
    until(lambda: all(listener.ends for listener in listeners))
    engine.stop()
    assert order[2] == 2
    assert all(len(listener.ends) == 1 and isinstance(listener.ends[0], AnswerEnd) for listener in listeners)


def test_several_answers_join_together_or_wait(talker: Loaded) -> None:
    engine, order = AnswerEngine(*talker, max_cache_tokens=10_000, max_sequences=3), list[int]()
    first, second = Listener(0, order), Listener(1, order)
    engine.submit(job(5, first, most=30))
    engine.submit(job(5, second, most=5, number=3))
    engine.start()
    until(lambda: len(second.ends) == 3)
    assert len(first.ends) == 1, "three answers found no room beside one"
    assert {event.choice for event in second.ends if isinstance(event, AnswerEnd)} == {0, 1, 2}
    engine.stop()


def test_a_prompt_that_fails_fails_alone(talker: Loaded) -> None:
    engine, order = AnswerEngine(*talker, max_cache_tokens=10_000, max_sequences=4), list[int]()
    sound, broken, larger = (Listener(number, order) for number in range(3))
    engine.submit(job(5, sound))
    engine.submit(AnswerJob(prompt=Prompt(token_ids=[10**6]), max_new_tokens=3, tell=broken))
    engine.submit(job(10, larger, most=20_000))
    engine.start()
    until(lambda: sound.ends and broken.ends and larger.ends)
    assert isinstance(sound.ends[0], AnswerEnd)
    assert isinstance(broken.ends[0], AnswerFailure) and "the model failed: IndexError" in broken.ends[0].message
    assert isinstance(larger.ends[0], AnswerFailure) and "the cache holds 10,000 slots" in larger.ends[0].message
    engine.stop()


def test_a_stop_is_told_to_all_that_are_not_finished(talker: Loaded) -> None:
    engine, order = AnswerEngine(*talker, max_cache_tokens=50_000, max_sequences=1), list[int]()
    running, waiting, late = (Listener(number, order) for number in range(3))
    engine.start()
    engine.submit(job(5, running, most=20_000))
    engine.submit(job(5, waiting))
    until(lambda: running.events)
    engine.stop()
    engine.submit(job(5, late))
    stopping = [AnswerFailure(message="the server is stopping")]
    assert running.ends == waiting.ends == late.ends == stopping
    assert not [thread for thread in threading.enumerate() if thread.name == "answers" and thread is engine._thread]


@pytest.mark.parametrize("joined", [True, False])
def test_a_cancelled_request_leaves(talker: Loaded, joined: bool) -> None:
    engine, order = AnswerEngine(*talker, max_cache_tokens=50_000, max_sequences=1), list[int]()
    first, second = Listener(0, order), Listener(1, order)
    jobs = [job(5, first, most=20_000), job(5, second, most=20_000)]
    for one in jobs:
        engine.submit(one)
    engine.start()
    until(lambda: first.events)
    engine.cancel(jobs[0 if joined else 1])
    until(lambda: engine.num_waiting == 0)
    until(lambda: bool(second.events) == joined)
    assert first.ends == [] and second.ends == []
    engine.stop()


@pytest.mark.parametrize(("owner", "method"), [(Sampler, "choose"), (AnswerText, "add")])
def test_what_fails_for_one_answer_ends_its_request_alone(
    talker: Loaded, monkeypatch: pytest.MonkeyPatch, owner: type, method: str
) -> None:
    engine, order = AnswerEngine(*talker, max_cache_tokens=50_000, max_sequences=4), list[int]()
    sound, broken, later = (Listener(number, order) for number in range(3))
    done, work = threading.Event(), getattr(owner, method)

    def fail_once(self: object, asked: object) -> object:
        is_drawn = isinstance(self, Sampler) or self in [*drawn.texts.values()]
        if is_drawn and not done.is_set():
            done.set()
            raise ArithmeticError("no such token")
        return work(self, asked)

    monkeypatch.setattr(owner, method, fail_once)
    drawn = job(5, broken, number=2)
    engine.submit(job(5, sound, most=60))
    engine.submit(drawn)
    engine.submit(job(5, later, number=2))
    engine.start()
    until(lambda: sound.ends and broken.ends and len(later.ends) == 2)
    engine.stop()
    assert broken.ends == [AnswerFailure(message="the model failed: ArithmeticError: no such token")]
    assert [type(end) for end in [*sound.ends, *later.ends]] == [AnswerEnd] * 3
    assert engine.lost is None


def test_more_answers_than_are_made_at_once_are_refused_and_hold_up_nobody(talker: Loaded) -> None:
    engine, order = AnswerEngine(*talker, max_cache_tokens=10_000, max_sequences=2), list[int]()
    many, next_one = Listener(0, order), Listener(1, order)
    engine.submit(job(5, many, number=3))
    engine.submit(job(5, next_one))
    engine.start()
    until(lambda: next_one.ends)
    engine.stop()
    assert many.ends == [AnswerFailure(message="3 answers to one request: at most 2 are made side by side")]
    assert isinstance(next_one.ends[0], AnswerEnd)


@pytest.mark.parametrize("fails_at", ["embed_words", "head_logits"])
def test_once_the_device_is_lost_all_are_told_and_nothing_is_answered(
    talker: Loaded, monkeypatch: pytest.MonkeyPatch, fails_at: str
) -> None:
    """The model fails, in a prompt that joins an empty batch or in a step, and then no batch can be made."""
    engine, order = AnswerEngine(*talker, max_cache_tokens=50_000, max_sequences=1), list[int]()
    running, waiting, late = (Listener(number, order) for number in range(3))

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error")

    if fails_at == "head_logits":
        engine.submit(job(5, running, most=20_000))
        engine.start()
        until(lambda: running.events)
    monkeypatch.setattr(engine_module, "ContinuousBatch", fail)
    monkeypatch.setattr(talker[0], fails_at, fail)
    if fails_at == "embed_words":
        engine.submit(job(5, running))
        engine.submit(job(5, waiting))
        engine.start()
        until(lambda: waiting.ends)
        lost = [AnswerFailure(message=engine.lost or "")]
        assert waiting.ends == lost
    until(lambda: running.ends and engine.lost)
    engine.submit(job(5, late))
    assert engine.lost == "the device is lost, start the server again: RuntimeError: CUDA error"
    assert running.ends == [AnswerFailure(message="the model failed: RuntimeError: CUDA error")]
    assert late.ends == [AnswerFailure(message=engine.lost)]
    assert engine.num_sequences == engine.num_waiting == 0
    engine.stop()
