"""Sockets that cannot be had are told in words; a server ends without breaking answers off."""

from __future__ import annotations

import socket
import threading

import pytest

from pipelines.exits import RefusedError
from pipelines.serving.server import address_of, bound_socket, is_loopback, serve
from tests.pipelines.serving.conftest import Loaded
from tests.pipelines.serving.served_models import events, served_here


def test_a_socket_says_where_it_is() -> None:
    with bound_socket("127.0.0.1", 0, then="") as bound:
        assert address_of(bound) == f"http://127.0.0.1:{bound.getsockname()[1]}" and is_loopback(bound)
    with bound_socket("localhost", 0, then="") as bound:
        assert is_loopback(bound)
    with bound_socket("0.0.0.0", 0, then="") as bound:
        assert not is_loopback(bound)


def test_a_port_in_use_is_told_before_anything_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(RefusedError, match=f"port {port} of 127.0.0.1 is in use") as caught:
            bound_socket("127.0.0.1", port, then="neo serve REF --port 0")
        assert caught.value.then == "neo serve REF --port 0"


def test_a_port_that_was_taken_meanwhile_is_told_too() -> None:
    """Two commands may bind one address while both load; the second that listens is refused."""
    with bound_socket("127.0.0.1", 0, then="") as bound, socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(bound.getsockname())
        other.listen()
        with pytest.raises(RefusedError, match="is in use"):
            serve(lambda *_: None, bound, stopping=lambda: None, say=print)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_that_is_not_of_this_machine_is_told(host: str) -> None:
    with pytest.raises(RefusedError, match=host.replace(".", r"\.")):
        bound_socket(host, 0, then="")


def test_a_stopped_server_lets_nothing_in_and_finishes_what_is_inside(talker: Loaded) -> None:
    with served_here(*talker) as server:
        connection, response = server.begun([{"role": "user", "content": "Say something."}], max_tokens=300)
        stream = events(response)
        next(stream)
    *_, end, done = stream
    connection.close()
    assert end["choices"][0]["finish_reason"] == "length" and done is None
    with pytest.raises(ConnectionRefusedError):
        server.send("GET", "/health")
    assert not [thread for thread in threading.enumerate() if thread.name in ("answers", "event-loop")]
