"""Starting the nodes of a Ray on a busy computer, where one may take longer than the 30 s that Ray gives it."""

import contextlib
from collections.abc import Callable
from typing import Any


def patiently(start: Callable[[], Any]) -> Any:
    """Start a machine, again where it takes longer than the 30 s that Ray gives it, as on a busy computer."""
    for _ in range(3):
        with contextlib.suppress(Exception):
            return start()
    return start()
