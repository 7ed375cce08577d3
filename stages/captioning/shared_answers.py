"""Answers of one part that all machines see, in a folder or bucket of the user's, so that another asks nothing twice.

A machine that takes a part over reads what others were answered before; what it asks itself it adds, a few
seconds of answers in one object, and what it knew before and the place lacks. It saves money and decides nothing: an
object that holds no answers is left out, and a place that fails is left alone for the rest of the part, both with a
warning; answers that are missing are asked for again. Of a machine that vanishes, those are that it had not left yet.

    captions/<digest of what is asked and of the part>/<random name>    lines of JSON: [key, answer]
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
import uuid
from collections.abc import Iterator
from typing import Final

from stages.store.errors import StoreError
from stages.store.store import Store

PREFIX: Final = "captions"
FLUSH_SECONDS: Final = 5.0
"""Age at which waiting answers are left for others, by the next answer that comes, or at the part's end: there is no
timer, so that of an endpoint that is slow the last ones wait longer."""
logger = logging.getLogger(__name__)


class SharedAnswers:
    """Answers of one part at a place; `named` is all that tells this part's answers from others."""

    def __init__(self, place: str, *named: str) -> None:
        self._store = Store(place)
        self._prefix = f"{PREFIX}/{hashlib.sha256(json.dumps(named).encode()).hexdigest()}/"
        self._waiting: list[str] = []
        self._left = set[bytes]()
        """Keys of the answers that the place has, as far as is known, or will have with those that wait."""
        self._has_failed = False
        self._since = 0.0
        """When the first of the waiting answers came, on this process's clock."""

    def read(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys and answers that others left. An object that holds none is left out, with a warning."""
        try:
            for key in self._store.keys(self._prefix):
                for name, answer in self._answers_in(key):
                    self._left.add(name)
                    yield name, answer
        except StoreError as error:
            self._give_up(error)

    def _answers_in(self, key: str) -> list[tuple[bytes, bytes]]:
        try:
            lines = map(json.loads, (self._store.read(key) or b"").splitlines())
            return [(bytes.fromhex(name), answer.encode()) for name, answer in lines]
        except (ValueError, TypeError, AttributeError) as error:
            logger.warning("%s in %s holds no answers (%s); it is left out, remove it", key, self._store.url, error)
            return []

    def add(self, key: bytes, answer: bytes) -> None:
        """Leave an answer for others, soon, unless the place has it."""
        if self._has_failed or key in self._left:
            return
        self._left.add(key)
        now = time.monotonic()
        self._since = self._since if self._waiting else now
        self._waiting.append(json.dumps([key.hex(), answer.decode(errors="replace")]))
        if now - self._since >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Leave all answers for others now."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            try:
                self._store.overwrite(f"{self._prefix}{uuid.uuid4().hex}", "\n".join(waiting).encode())
            except StoreError as error:
                self._give_up(error)

    def _give_up(self, error: StoreError) -> None:
        """Share no more answers of this part: each further try would wait through all retries."""
        self._has_failed = True
        logger.warning("answers of this part are not shared with other machines any longer: %s", error)
