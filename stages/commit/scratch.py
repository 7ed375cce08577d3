"""Private local folders for work in progress."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.store.errors import local_disk_errors


@contextmanager
def scratch_folder(label: str) -> Iterator[Path]:
    """A private local folder, removed on exit, also after an error. Raises `DiskFullError` where its disk is full."""
    with local_disk_errors(Path(tempfile.gettempdir())):
        folder = Path(tempfile.mkdtemp(prefix=f"neo-{label}-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
