"""What can be wrong with a store, in kinds that call for different things, each said in one line.

Owns the way from the engine's errors, which name neither the store nor what to do, to ours. A missing object stays
`FileNotFoundError`: often that is an answer and no error.
"""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
SIGNS_OF_DENIED: Final = (
    "401 Unauthorized",
    "403 Forbidden",
    "<Code>ExpiredToken</Code>",
    *(f"os error {number})" for number in sorted(DENIED)),
)
"""In the text of errors that the engine gives no class of their own."""
SIGNS_OF_NO_BUCKET: Final = ("NoSuchBucket", "bucket does not exist", "ContainerNotFound")
SIGNS_OF_FULL: Final = tuple(f"os error {number})" for number in FULL)
"""How libraries in Rust (the engine, safetensors) end the text of an error that carries no number."""


class StoreError(RuntimeError):
    """The store refused or lost something; the message names the key and what to do."""


class TornRecordError(StoreError):
    """A record is there and does not parse: it was torn or edited. The only error that lets a record be moved aside."""


class DamagedFileError(StoreError):
    """A file is missing, or is not the one that was committed."""


class CutShortError(StoreError):
    """An object ends before the bytes that were asked for."""


class DiskFullError(StoreError):
    """There is no space left, in the store or on a local disk. Nothing half written can be seen."""


class StoreDeniedError(StoreError):
    """The store does not let us, now. Trying again does not help until somebody has given permission."""


class StoreUnavailableError(StoreError):
    """The store failed, or was not reached, for longer than the engine tries again."""


def is_full(error: BaseException) -> bool:
    """Whether an error of whatever library means that a disk, or a quota on it, is full."""
    return (isinstance(error, OSError) and error.errno in FULL) or any(sign in str(error) for sign in SIGNS_OF_FULL)


def space_left(path: Path) -> str:
    """How full the disk under `path` is, in words; `path` itself need not exist."""
    place = next(parent for parent in (path, *path.parents) if parent.exists())
    usage = shutil.disk_usage(place)
    unit, name = (1e9, "GB") if usage.total >= 1e9 else (1e6, "MB")
    return f"{usage.free / unit:.2f} of {usage.total / unit:.2f} {name} free"


@contextmanager
def local_disk_errors(folder: Path) -> Iterator[None]:
    """Where the local disk under `folder` is full, say so: libraries name no path, and some not even the trouble."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        if not is_full(error):
            raise
        raise DiskFullError(
            f"the local disk under {folder} is full ({space_left(folder)}; {_in_one_line(error)}). What is committed "
            "is whole; make room there, or let TMPDIR name a larger disk, then run the command again"
        ) from error


@contextmanager
def store_errors(url: str, doing: str) -> Iterator[None]:
    """Raise what the engine raises as an error of ours; `doing` names the key, such as `write a/b.json`."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as error:
        if not any(sign in str(error) for sign in SIGNS_OF_NO_BUCKET):
            raise
        raise StoreUnavailableError(
            f"the store {url} cannot be used: there is no such bucket; make it, or name another in the site file"
        ) from error
    except (BaseError, OSError) as error:
        raise _in_words(error, url, doing) from error


def _in_words(error: Exception, url: str, doing: str) -> StoreError:
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

    said = _in_one_line(error)
    if is_full(error):
        room = "" if "://" in url else f" ({space_left(Path(url))})"
        return DiskFullError(
            f"the store {url} is full{room}: could not {doing}. What is committed is whole; make room, "
            "then run the command again"
        )
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or _is_denied(error):
        return StoreDeniedError(
            f"the store {url} does not permit to {doing} ({said}). What is committed is whole; get valid credentials "
            "or permissions, then run the command again"
        )
    return StoreUnavailableError(
        f"the store {url} cannot be used now: it failed to {doing} ({said}). What is committed is whole; run the "
        "command again once that is mended"
    )


def _in_one_line(error: BaseException) -> str:
    return re.split(r"\n|: *<\?xml", str(error), maxsplit=1)[0]


def _is_denied(error: Exception) -> bool:
    return (isinstance(error, OSError) and error.errno in DENIED) or any(sign in str(error) for sign in SIGNS_OF_DENIED)
