"""Stores with many finished runs, or with one busy run, written as a driver writes them, for counting and timing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipelines.planning.request import Request
from pipelines.runs.attempts import settle
from pipelines.runs.outbox import Message, Outbox
from pipelines.runs.run import AttemptRecord, Run
from stages.commit.heartbeat import ProcessMark
from stages.contract import Event
from stages.store.reader import StoreReader
from stages.store.store import Store

READS = ("read", "size_bytes", "keys", "some_keys", "files", "folders")
WRITES = ("create", "overwrite", "delete")


def put(store: Store, key: str, value: object) -> None:
    """Write an object without waiting for the disk."""
    import json

    store.overwrite(key, value if isinstance(value, bytes) else json.dumps(value).encode())


def finished_run(store: Store, name: str, *, num_messages: int = 2, is_settled: bool = True) -> Run:
    """A run whose only attempt failed, all of whose messages are delivered."""
    run = Run(store, name)
    request = Request(pipeline="toy", request="toy", targets=("a",), steps=())
    put(store, f"{run.folder}/plan.json", request.model_dump(mode="json"))
    record = AttemptRecord(number=1, **ProcessMark.here() | {"process_started_ticks": 1})
    put(store, f"{run.folder}/attempts/1.json", record.model_dump(mode="json"))
    end = {"outcome": "failed", "at_seconds": time.time(), "reason": "because"}
    put(store, f"{run.folder}/attempts/1.ended.json", end)
    message = Message(kind="events", attempt=1).model_dump(mode="json", by_alias=True)
    for number in range(num_messages):
        put(store, f"{run.folder}/outbox/{number:08d}.json", message)
        put(store, f"{run.folder}/outbox/{number:08d}.json.sent", b"")
    if is_settled:
        settle(run)
    return run


def fill_outbox(run: Run, messages: list[list[Event]], attempt: int) -> None:
    """Leave these messages of events, after those that are there."""
    first = Outbox(run.store, run.name).num_messages()
    for number, events in enumerate(messages, start=first):
        message = Message(kind="events", attempt=attempt, events=tuple(events))
        put(run.store, f"{run.folder}/outbox/{number:08d}.json", message.model_dump(mode="json", by_alias=True))


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Inside the block, every request to a store is added to the list."""
    requests: list[str] = []

    def count(owner: type, method: str) -> None:
        before = getattr(owner, method)

        def counting(self: Store, key: str, *arguments: object, **named: object) -> object:
            requests.append(f"{method} {key}")
            return before(self, key, *arguments, **named)

        patch.setattr(owner, method, counting)

    with monkeypatch.context() as patch:
        for method in READS:
            count(StoreReader, method)
        for method in WRITES:
            count(Store, method)
        yield requests
