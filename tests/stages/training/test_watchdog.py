"""While a model trains, its ranks talk to no tracker: no socket is opened from Python."""

import socket
import sys
from pathlib import Path

from stages.contract import GangLayout
from tests.stages.training.test_loop import training
from tests.worlds.training_world import SmallWorld


def forbid_sockets(rank) -> None:
    """From here on a connection is an error in this process, which has its process group already."""

    def audit(event: str, arguments: tuple) -> None:
        if event in ("socket.connect", "socket.getaddrinfo"):
            raise PermissionError(f"a rank opened a socket: {event} {arguments[1:]}")

    sys.addaudithook(audit)
    try:
        socket.create_connection(("127.0.0.1", 9), timeout=1)
    except PermissionError:
        return
    raise AssertionError("a rank that asked a tracker would not be seen")


def test_a_rank_opens_no_socket(tmp_path: Path) -> None:
    world = SmallWorld.at(tmp_path)
    world.make(training(num_steps=2), GangLayout(micro_rows=2), trouble=forbid_sockets)
    assert any(event.event == "numbers" and "loss" in event.numbers for event in world.events)
