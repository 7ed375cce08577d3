"""Errors of a store, in kinds that call for different actions, each worded in one line.

Owns the translation of obstore's errors, which name neither the store nor what to do. A missing object stays
`FileNotFoundError`, because a caller often expects it.
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
"""Error numbers of a full disk, or a full quota."""
DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""Error numbers of missing permission."""
SIGNS_OF_DENIED: Final = (
    "401 Unauthorized",
    "403 Forbidden",
    "<Code>ExpiredToken</Code>",
    *(f"os error {number})" for number in sorted(DENIED)),
)
"""Texts of obstore's errors of missing permission, which have no class of their own."""
SIGNS_OF_NO_BUCKET: Final = ("NoSuchBucket", "bucket does not exist", "ContainerNotFound")
"""Texts of the errors of a missing bucket: S3, GCS, Azure."""
SIGNS_OF_FULL: Final = tuple(f"os error {number})" for number in FULL)
"""Ends of the error texts of libraries in Rust (obstore, safetensors), whose errors carry no number."""


class StoreError(RuntimeError):
    """The store refused or lost something; the message names the key and what to do."""


class TornRecordError(StoreError):
    """A record exists and does not parse: it was torn or edited. The only error after which a record is quarantined."""


class MissingRecordError(StoreError):
    """A record is missing that others say was written."""


class DamagedFileError(StoreError):
    """A file is missing, or differs from the one that was committed."""


class CutShortError(StoreError):
    """An object ends before the end of the range that was read."""


class DiskFullError(StoreError):
    """No space is left, in the store or on a local disk. Nothing half written is visible."""


class StoreDeniedError(StoreError):
    """The store denied access. A retry does not help until permissions or credentials are changed."""


class StoreUnavailableError(StoreError):
    """The store failed, or could not be reached, through all retries."""


def is_full(error: BaseException) -> bool:
    """Whether an error, of any library, means that a disk or a quota on it is full."""
    return (isinstance(error, OSError) and error.errno in FULL) or any(sign in str(error) for sign in SIGNS_OF_FULL)


def space_left(path: Path) -> str:
    """How full the disk under `path` is, in words; `path` itself need not exist."""
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    usage = shutil.disk_usage(existing)
    unit, name = (1e9, "GB") if usage.total >= 1e9 else (1e6, "MB")
    return f"{usage.free / unit:.2f} of {usage.total / unit:.2f} {name} free"


@contextmanager
def local_disk_errors(folder: Path) -> Iterator[None]:
    """Raise `DiskFullError` where the local disk under `folder` is full: the errors of libraries name no path."""
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
    """Raise obstore's errors as ours; `doing` names the operation and the key, such as `write a/b.json`."""
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

    message = _in_one_line(error)
    if is_full(error):
        room = "" if "://" in url else f" ({space_left(Path(url))})"
        return DiskFullError(
            f"the store {url} is full{room}: could not {doing}. What is committed is whole; make room, "
            "then run the command again"
        )
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or _is_denied(error):
        return StoreDeniedError(
            f"the store {url} does not permit to {doing} ({message}). What is committed is whole; get valid "
            "credentials or permissions, then run the command again"
        )
    return StoreUnavailableError(
        f"the store {url} cannot be used now: it failed to {doing} ({message}). What is committed is whole; run the "
        "command again once that is fixed"
    )


def _in_one_line(error: BaseException) -> str:
    return re.split(r"\n|: *<\?xml", str(error), maxsplit=1)[0]


def _is_denied(error: Exception) -> bool:
    return (isinstance(error, OSError) and error.errno in DENIED) or any(sign in str(error) for sign in SIGNS_OF_DENIED)
