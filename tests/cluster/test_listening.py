"""A quick check whether a server listens."""

import socket

import pytest

from cluster.listening import check_listening


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "http://127.0.0.1:{}", "http://127.0.0.1:{}/path?query"])
def test_a_listening_server_is_told_from_a_closed_port(form: str, closed_port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_listening(form.format(server.getsockname()[1]), timeout_seconds=5)
    with pytest.raises(ConnectionRefusedError):
        check_listening(form.format(closed_port), timeout_seconds=5)


@pytest.mark.parametrize("address", ["auto", "local", "sqlite:////tmp/mlflow.db"])
def test_an_address_without_a_port_is_not_checked(address: str) -> None:
    check_listening(address, timeout_seconds=0.01)
