"""A quick check whether a server listens."""

import socket

import pytest

from cluster.listening import check_listening, proxy_of


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


def test_a_url_is_looked_for_where_its_proxy_listens_and_only_if_it_goes_there(
    closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "http_proxy", "no_proxy", "NO_PROXY", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.getsockname()[1]}")
        assert proxy_of("https://ray.invalid") == f"http://127.0.0.1:{proxy.getsockname()[1]}"
        check_listening("https://ray.invalid", timeout_seconds=5)
        for direct in (f"http://127.0.0.1:{closed_port}", f"127.0.0.1:{closed_port}"):
            with pytest.raises(ConnectionRefusedError):
                check_listening(direct, timeout_seconds=5)
        monkeypatch.setenv("NO_PROXY", ".invalid,10.0.0.0/8")
        assert proxy_of("https://ray.invalid") == proxy_of("https://10.1.2.3") == ""
    monkeypatch.delenv("NO_PROXY")
    with pytest.raises(ConnectionRefusedError, match="the proxy 127.0.0.1"):
        check_listening("https://ray.invalid", timeout_seconds=5)


@pytest.mark.parametrize("address", ["auto", "local", "sqlite:////tmp/mlflow.db"])
def test_an_address_without_a_port_is_not_checked(address: str) -> None:
    check_listening(address, timeout_seconds=0.01)
