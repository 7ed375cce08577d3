"""What is answered at which path, who may ask, and that every error is the protocol's object."""

from __future__ import annotations

import pytest

from tests.pipelines.serving.conftest import Loaded
from tests.pipelines.serving.served_models import served_here


def test_models_and_health(talker: Loaded) -> None:
    with served_here(*talker) as server:
        status, _, models = server.send("GET", "/v1/models")
        assert status == 200 and models["object"] == "list"
        assert [one["id"] for one in models["data"]] == ["tiny"]
        assert server.send("GET", "/v1/models/tiny")[2] == models["data"][0]
        status, _, document = server.send("GET", "/v1/models/learn/other")
        assert (status, document["error"]["code"]) == (404, "model_not_found")
        assert server.send("GET", "/health")[2] == {
            "status": "ok", "model": "tiny", "requests_inside": 0, "requests_waiting": 0, "answers_in_progress": 0,
            "outcomes": {},
        }  # fmt: skip


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/v1/chat/completions", 405)])
def test_other_paths_and_methods_are_errors_of_the_protocol(
    talker: Loaded, method: str, path: str, status: int
) -> None:
    with served_here(*talker) as server:
        got, _, document = server.send(method, path)
        assert got == status and set(document["error"]) == {"message", "type", "param", "code"}
        assert f"{method} {path}" in document["error"]["message"]


def test_a_page_of_the_web_cannot_ask_under_its_own_name(talker: Loaded) -> None:
    with served_here(*talker) as server:
        for host in (
            "evil.example",
            "evil.example:80",
            "127.0.0.1.evil.example",
            "",
            "localhost.evil:8000",
            "192.168.0.1",
            "0.0.0.0",
        ):
            status, headers, document = server.send("GET", "/v1/models", host=host)
            assert status == 403 and "loopback" in document["error"]["message"]
            assert not [name for name in headers if name.lower().startswith("access-control")]
        for host in ("localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8000", "[::1]", "127.0.0.2:80"):
            assert server.send("GET", "/v1/models", host=host)[0] == 200


def test_the_page_refers_to_nothing_outside(talker: Loaded) -> None:
    with served_here(*talker) as server:
        for path in ("/", "/page.js", "/page.css"):
            status, headers, content = server.send("GET", path)
            assert status == 200 and b"http" not in content and b"innerHTML" not in content
            assert "default-src 'none'" in headers["content-security-policy"]
