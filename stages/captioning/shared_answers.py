"""Answers of one part that all machines see, in a folder or bucket of the user's, so that another asks nothing twice.

A machine that takes a part over reads what others were answered before; what it asks itself it adds, a few
seconds of answers in one object. It saves money and decides nothing: answers that are missing are asked for again. Of
a machine that vanishes, those of its last `FLUSH_SECONDS` are.

    captions/<digest of what is asked and of the part>/<random name>    lines of JSON: [key, answer]
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Iterator
from typing import Final

from stages.contract import StageError
from stages.store.store import Store

PREFIX: Final = "captions"
FLUSH_SECONDS: Final = 5.0
"""Longest time for which an answer is known to this machine alone."""


class SharedAnswers:
    """Answers of one part at a place; `named` is all that tells this part's answers from others."""

    def __init__(self, place: str, *named: str) -> None:
        self._store = Store(place)
        self._prefix = f"{PREFIX}/{hashlib.sha256(json.dumps(named).encode()).hexdigest()}/"
        self._waiting: list[str] = []
        self._since = 0.0
        """When the first of the waiting answers came, on this process's clock."""

    def read(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys and answers that others left. Raises `StageError` for an object that holds none."""
        for key in self._store.keys(self._prefix):
            data = self._store.read(key)
            try:
                for line in (data or b"").splitlines():
                    name, answer = json.loads(line)
                    yield bytes.fromhex(name), answer.encode()
            except (ValueError, TypeError, AttributeError) as error:
                raise StageError(f"{key} in {self._store.url} holds no answers ({error}); remove it") from error

    def add(self, key: bytes, answer: bytes) -> None:
        """Leave an answer for others, soon."""
        now = time.monotonic()
        self._since = self._since if self._waiting else now
        self._waiting.append(json.dumps([key.hex(), answer.decode(errors="replace")]))
        if now - self._since >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Leave all answers for others now."""
        if self._waiting:
            data = "\n".join(self._waiting).encode()
            self._store.overwrite(f"{self._prefix}{uuid.uuid4().hex}", data)
            self._waiting = []
