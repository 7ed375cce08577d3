"""Progress of the parts under way on one machine: gathered there, and posted once a second for all of them.

Each process notes its newest progress in a file, and whichever finds that a second has passed posts what all noted.
With 200 machines of 32 parts, 12,800 messages a second become 200. A note may be lost; the next one replaces it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import ray

from stages.contract import PartProgress

if TYPE_CHECKING:
    from ray.actor import ActorHandle

SECONDS_BETWEEN_POSTS = 1.0
"""One message of progress from a machine in this time, and one note of a process."""
TURN = "turn"
"""File whose age is that of the last message; locked by the process that makes the next one."""


class MachineProgress:
    """The progress of all parts on this machine, as one process of it sees it."""

    def __init__(self, folder: Path, name: str, post: Callable[[Sequence[PartProgress]], None]) -> None:
        """`folder` is that of this machine and run; `name` is this process's own."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._name, self._post = folder, name, post
        self._noted_seconds = -SECONDS_BETWEEN_POSTS

    def note(self, event: PartProgress) -> None:
        """Note progress, and post that of all processes if it is time. Never waits for another process."""
        now_seconds = time.monotonic()
        if now_seconds - self._noted_seconds < SECONDS_BETWEEN_POSTS:
            return
        self._noted_seconds = now_seconds
        try:
            self._write(event)
            noted = self._take_all()
        except OSError:  # a full disk: then this process posts for itself
            noted = [event]
        if noted:
            self._post(noted)

    def _write(self, event: PartProgress) -> None:
        draft = self._folder / f"{self._name}.draft"
        draft.write_text(event.model_dump_json())
        draft.replace(self._folder / f"{self._name}.json")

    def _take_all(self) -> list[PartProgress]:
        """What all processes have noted since the last message, if it is time for the next; else nothing."""
        noted: list[PartProgress] = []
        with self._turn() as is_mine:
            for path in self._folder.glob("*.json") if is_mine else ():
                with suppress(OSError, ValueError):
                    noted.append(PartProgress.model_validate_json(path.read_bytes()))
                    path.unlink()
        return noted

    @contextmanager
    def _turn(self) -> Iterator[bool]:
        """Whether this process is the one to post now. Its turn ends with the context."""
        turn = self._folder / TURN
        is_first = not turn.exists()
        with turn.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            age_seconds = time.time() - os.fstat(file.fileno()).st_mtime
            is_mine = is_first or not 0 <= age_seconds < SECONDS_BETWEEN_POSTS
            if is_mine:
                os.utime(turn)
            yield is_mine


_OF_BOARD: dict[str, MachineProgress] = {}
"""What this process notes its progress with, by the id of the board that gets it."""


def machine_progress(board: ActorHandle) -> MachineProgress:
    """Where this process notes its progress for a board. Its files end with the session of this machine's Ray."""
    key = board._actor_id.hex()
    if key not in _OF_BOARD:
        session = Path(ray._private.worker._global_node.get_session_dir_path())
        folder = session / "neo_progress" / ray.get_runtime_context().get_node_id() / key

        def post(noted: Sequence[PartProgress]) -> None:
            board.post_all.options(num_returns=0).remote(noted)

        _OF_BOARD[key] = MachineProgress(folder, str(os.getpid()), post)
    return _OF_BOARD[key]
