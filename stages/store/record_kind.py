"""Kinds of stored JSON records: read into typed values, and told in words where one cannot be read.

Owns the one way from the bytes of a record to its value. Every reader of a record declares its kind once, beside the
class that the record holds; so each error names the key, what the record is, what is wrong and what to do.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from stages.store.errors import MissingRecordError, TornRecordError

logger = logging.getLogger(__name__)

MAX_PROBLEM_CHARACTERS = 160
"""Length of the phrase that says what is wrong with a record, at most."""
Content = TypeVar("Content")


class RecordStore(Protocol):
    """A store from which records can be read."""

    @property
    def url(self) -> str:
        """Names the store in messages."""

    def read_json(self, key: str) -> Any:
        """The object parsed as JSON, or None if there is none. Raises `TornRecordError` when it does not parse."""

    def read_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """The objects under these keys; None for one that is missing."""


@dataclass(frozen=True)
class RecordKind(Generic[Content]):
    """One kind of record: what it holds, what people call it, and what to do about one that cannot be read."""

    shape: Any
    """The type of the value: a pydantic model, or a type such as `list[PartRecord]`."""
    name: str
    """What the record is, for messages, such as `the record of an attempt`."""
    remedy: str
    """What to do about a record that cannot be read, as a clause without a full stop."""

    def read(self, store: RecordStore, key: str) -> Content | None:
        """The record, or None if there is none. Raises `TornRecordError` where it cannot be read."""
        try:
            raw = store.read_json(key)
        except TornRecordError as error:
            raise TornRecordError(f"{error}. It is {self.name}: {self.remedy}") from error
        return None if raw is None else self.parsed(raw, f"{store.url}/{key}")

    def read_existing(self, store: RecordStore, key: str) -> Content:
        """The record. Raises `MissingRecordError` where there is none, `TornRecordError` where it cannot be read."""
        content = self.read(store, key)
        if content is None:
            raise self.missing(store, key)
        return content

    def read_or_skip(self, store: RecordStore, key: str) -> Content | None:
        """The record, or None if there is none or it cannot be read: for history, which a command can do without.

        What is left out is told by a warning.
        """
        try:
            return self.read(store, key)
        except TornRecordError as error:
            skip_unreadable(error)
            return None

    def read_many(self, store: RecordStore, keys: Sequence[str]) -> list[Content | TornRecordError | None]:
        """`read` of each key, many at a time; the error stands in the place of a record that cannot be read."""
        return [self.of_bytes(store, key, data) for key, data in zip(keys, store.read_many(keys), strict=True)]

    def of_bytes(self, store: RecordStore, key: str, data: bytes | None) -> Content | TornRecordError | None:
        """The record of these bytes, which were read under a key; None for None, or why it cannot be read."""
        try:
            return None if data is None else self.parsed(json.loads(data), f"{store.url}/{key}")
        except TornRecordError as error:
            return error
        except ValueError:
            try:
                return self.read(store, key)  # once more, to tell what was cut on its way from what is torn
            except TornRecordError as error:
                return error

    def readable(self, one: Content | TornRecordError | None) -> Content | None:
        """One record of `read_many`; None, with a warning, if it cannot be read."""
        if isinstance(one, TornRecordError):
            skip_unreadable(one)
            return None
        return one

    def parsed(self, raw: object, where: str) -> Content:
        """Parsed JSON as the value; `where` names the record. Raises `TornRecordError` where it has another shape."""
        try:
            content: Content = self._adapter.validate_python(raw)
        except (ValidationError, ValueError, TypeError, ArithmeticError) as error:
            raise self.unreadable(where, what_is_wrong(error)) from error
        return content

    def missing(self, store: RecordStore, key: str) -> MissingRecordError:
        """The error for a record that is not there and must be."""
        return MissingRecordError(f"{store.url}/{key} is missing. It is {self.name}: {self.remedy}")

    def unreadable(self, where: str, problem: str) -> TornRecordError:
        """The error for a record at `where` that parses and has another shape; `problem` is a phrase."""
        return TornRecordError(
            f"{where} cannot be read ({problem}); it is torn or was edited. It is {self.name}: {self.remedy}"
        )

    @cached_property
    def _adapter(self) -> TypeAdapter[Content]:
        return TypeAdapter(self.shape)


def skip_unreadable(error: TornRecordError | MissingRecordError) -> None:
    """Warn that a record is left out because it cannot be read: the caller goes on without it."""
    logger.warning("left out: %s", error)


def what_is_wrong(error: Exception) -> str:
    """What is wrong with a value, as one short phrase: the first field at fault, and how many more there are.

    >>> what_is_wrong(ValueError("two\\nlines"))
    'two'
    """
    if not isinstance(error, ValidationError):
        phrase = str(error).partition("\n")[0]
    else:
        first, *others = error.errors(include_url=False, include_input=False, include_context=False)
        field = ".".join(str(part) for part in first["loc"])
        more = f", and {len(others)} more" if others else ""
        phrase = f"{f'field {field}: ' if field else ''}{first['msg']}{more}"
    return phrase if len(phrase) <= MAX_PROBLEM_CHARACTERS else f"{phrase[: MAX_PROBLEM_CHARACTERS - 3]}..."
