"""Exclusive creates on an object store, where an answer can be lost and a refusal can be wrong.

Owns the decision who won. A conditional write may be applied and its answer lost; the engine then tries again and is
told 412, that the key exists: it does, by our own hand. So every create carries a token of its own in the object's
metadata, and whoever is told that the key exists reads whose token is there. Bytes would not do: two writers of one
frozen plan, of a list of parts or of an empty mark write the same bytes, and exactly one of them is to win.

409 says only that another conditional write to the key is under way. The engine reports it like 412, but nothing may
be there yet; then it is tried again.
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
"""Name of the metadata field. Azure takes letters and digits only."""
REFUSAL: Final = "status code: 4"
"""In the engine's text where the server understood, and did nothing."""
SECONDS_BETWEEN_TRIES: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""After a conflict that left nothing behind. Of server errors and lost connections the engine takes care."""


def create_exclusively(engine: ObjectStore, key: str, data: bytes) -> bool:
    """Whether this call made the object. Raises the engine's error where that stays unknown."""
    token = uuid.uuid4().hex
    for wait_seconds in SECONDS_BETWEEN_TRIES:
        created = _try(engine, key, data, token)
        if created is not None:
            return created
        time.sleep(wait_seconds)
    raise StoreError(
        f"{key} cannot be created: the store says again and again that another write to it is under way, and nothing "
        "comes of that; run the command again"
    )


def put_despite_conflicts(put: Callable[[], object]) -> None:
    """A plain write, tried again after a conflict, which the engine takes for the last word and calls "exists"."""
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
    """The same on a store that heeds no conditions: look, then write. Right only while nobody else writes."""
    import obstore

    if _writer_of(engine, key) is not None:
        return False
    obstore.put(engine, key, data)
    return True


def _try(engine: ObjectStore, key: str, data: bytes, token: str) -> bool | None:
    """One try: whether we made it, or None where it was refused though nothing is there."""
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
        # The engine gave up, but one of its tries may have been applied all the same.
        writer = _writer_of(engine, key)
        if writer is None:
            raise
        return writer == token
    return True


def _writer_of(engine: ObjectStore, key: str) -> str | None:
    """The token of whoever created the object, '' if it carries none; None if there is no object."""
    import obstore

    try:
        return str(obstore.get(engine, key, options={"head": True}).attributes.get(TOKEN, ""))
    except FileNotFoundError:
        return None
