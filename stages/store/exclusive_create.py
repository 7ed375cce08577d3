"""Exclusive creates (conditional writes) on an object store, where an answer can be lost and a refusal can be wrong.

Owns the decision which writer won. A conditional write may be applied and its answer lost; obstore then retries and is
answered 412, the key exists, because of the first try. So every create carries a token of its own in the object's
metadata, and a writer that is told that the key exists compares the token there with its own. Comparing the bytes would
not do: two writers of one frozen plan, list of parts or empty mark write the same bytes, and exactly one must win.

409 means that another conditional write to the key is in progress. obstore reports it like 412, but the object may not
exist yet; then the create is retried.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from stages.store.errors import StoreError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

TOKEN: Final = "writer"
"""Name of the metadata field with the token. Azure allows letters and digits only."""
REFUSAL: Final = "status code: 4"
"""Part of obstore's error text when the server answered 4xx: it understood the request and did nothing."""
SECONDS_BETWEEN_TRIES: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Pauses after a conflict (409) that left no object. obstore itself retries server errors and lost connections."""


def create_exclusively(engine: ObjectStore, key: str, data: bytes) -> bool:
    """Whether this call created the object. Raises obstore's error where that stays unknown."""
    token = uuid.uuid4().hex
    for wait_seconds in SECONDS_BETWEEN_TRIES:
        created = _try(engine, key, data, token)
        if created is not None:
            return created
        time.sleep(wait_seconds)
    raise StoreError(
        f"{key} cannot be created: the store keeps answering that another write to it is in progress, but no object "
        "appears; run the command again"
    )


def put_despite_conflicts(put: Callable[[], object]) -> None:
    """A plain write, retried after a conflict (409), which obstore does not retry and reports as "exists"."""
    from obstore.exceptions import AlreadyExistsError

    for wait_seconds in SECONDS_BETWEEN_TRIES:
        try:
            put()
        except AlreadyExistsError:
            time.sleep(wait_seconds)
        else:
            return
    put()


def create_after_looking(engine: ObjectStore, key: str, data: bytes) -> bool:
    """The same without conditional writes: look, then write. Correct only while there is a single writer."""
    import obstore

    if _writer_of(engine, key) is not None:
        return False
    obstore.put(engine, key, data)
    return True


def _try(engine: ObjectStore, key: str, data: bytes, token: str) -> bool | None:
    """One try: whether this call created the object, or None where it was refused though there is no object."""
    import obstore
    from obstore.exceptions import AlreadyExistsError, GenericError, PreconditionError

    try:
        obstore.put(engine, key, data, mode="create", attributes={TOKEN: token})
    except (AlreadyExistsError, PreconditionError):
        writer = _writer_of(engine, key)
        return None if writer is None else writer == token
    except GenericError as error:
        if REFUSAL in str(error):
            raise
        # obstore gave up, but one of its tries may have been applied.
        writer = _writer_of(engine, key)
        if writer is None:
            raise
        return writer == token
    return True


def _writer_of(engine: ObjectStore, key: str) -> str | None:
    """The token in the object's metadata, '' if it has none; None if there is no object."""
    import obstore

    try:
        return str(obstore.get(engine, key, options={"head": True}).attributes.get(TOKEN, ""))
    except FileNotFoundError:
        return None
