"""A record that cannot be read is told in words: which, what is wrong, and what to do."""

import logging
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from stages.store.errors import MissingRecordError, TornRecordError
from stages.store.record_kind import MAX_PROBLEM_CHARACTERS, RecordKind
from stages.store.store import Store


class Shelf(BaseModel):
    model_config = ConfigDict(extra="forbid")

    number: int
    books: list[str] = []


SHELF = RecordKind[Shelf](Shelf, "the list of a shelf", "put it back from a copy")
KEY = "shelves/1.json"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_whole_record_is_read_and_none_is_none(store: Store) -> None:
    assert SHELF.read(store, KEY) is None
    store.create(KEY, b'{"number": 1}')
    assert SHELF.read(store, KEY) == SHELF.read_existing(store, KEY) == Shelf(number=1)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b'{"number": 1', "does not parse as JSON"),
        (b"\xff\xfe", "does not parse as JSON"),
        (b"", "does not parse as JSON"),
        (b'{"nunber": 1}', "cannot be read (field number: Field required, and 1 more)"),
        (b'{"number": "one"}', "cannot be read (field number: Input should be a valid integer"),
        (b"[1]", "cannot be read (Input should be a valid dictionary or instance of Shelf)"),
        (b"1e999", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_sentence(store: Store, data: bytes, problem: str) -> None:
    store.create(KEY, data)
    with pytest.raises(TornRecordError) as caught:
        SHELF.read(store, KEY)
    message = str(caught.value)
    assert message.startswith(f"{store.url}/{KEY} {problem}")
    assert message.endswith("It is the list of a shelf: put it back from a copy")
    assert "pydantic" not in message and "\n" not in message
    assert len(message) < len(store.url) + MAX_PROBLEM_CHARACTERS + 150


def test_a_missing_record_that_must_be_there_is_another_error(store: Store) -> None:
    """Only a torn record is moved to quarantine."""
    with pytest.raises(MissingRecordError, match=r"shelves/1\.json is missing\. It is the list of a shelf"):
        SHELF.read_existing(store, KEY)


def test_history_that_cannot_be_read_is_left_out_with_a_warning(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("stages.store.record_kind")
    monkeypatch.setattr(logger, "handlers", [])  # that of an earlier command in this process
    monkeypatch.setattr(logger, "propagate", True)
    store.create(KEY, b"{")
    assert SHELF.read_or_skip(store, KEY) is None
    assert {(KEY in record.getMessage(), record.levelname) for record in caplog.records} == {(True, "WARNING")}
