"""The routes of the server: the chat protocol, its list of models, its health, and a page to try it in a browser.

Owns what is answered at which path, and who may ask: on a loopback address only requests that name it as their host,
so that a page of the web cannot reach the server under a name of its own (DNS rebinding). There are no CORS headers.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipelines.serving.admission import Admission
from pipelines.serving.chat_endpoint import ChatEndpoint, ServedModel
from pipelines.serving.errors import ProtocolError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

PAGE_FILES: Final = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}
"""Paths of the page's files, with their types. They refer to nothing outside this server."""
PAGE_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def make_app(served: ServedModel, admission: Admission, *, is_loopback: bool, log: Callable[[str], None]) -> ASGIApp:
    """The server as an ASGI application."""
    created = int(time.time())
    listed = {"id": served.name, "object": "model", "created": created, "owned_by": "neo"}

    def models(_request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [listed]})

    def model(request: Request) -> Response:
        name = request.path_params["name"]
        if name != served.name:
            told = f"the model {name[:100]!r} does not exist here: {served.name!r} does"
            raise ProtocolError(404, told, code="model_not_found", param="model")
        return JSONResponse(listed)

    def health(_request: Request) -> Response:
        document = health_document(served, admission)
        return JSONResponse(document, 200 if document["status"] == "ok" else 503)

    routes = [
        *(Route(path, _page(*file)) for path, file in PAGE_FILES.items()),
        Route("/health", _async(health)),
        Route("/v1/models", _async(models)),
        Route("/v1/models/{name:path}", _async(model)),
        Route("/v1/chat/completions", ChatEndpoint(served, admission, log), methods=["POST"]),
    ]
    app = Starlette(routes=routes, exception_handlers={ProtocolError: _told, HTTPException: _told, Exception: _told})
    return _own_hosts_alone(app) if is_loopback else app


def health_document(served: ServedModel, admission: Admission) -> dict[str, Any]:
    """What the server does now, and how requests have ended so far."""
    status = "lost" if served.engine.lost else "stopping" if admission.is_closed else "ok"
    return {
        "status": status,
        "model": served.name,
        "requests_inside": admission.num_inside,
        "requests_waiting": served.engine.num_waiting,
        "answers_in_progress": served.engine.num_sequences,
        "outcomes": {str(outcome): number for outcome, number in sorted(admission.outcomes.items())},
    }


def _page(name: str, media_type: str) -> Callable[[Request], Any]:
    content = files("pipelines.serving").joinpath("page", name).read_bytes()
    return _async(lambda _request: Response(content, media_type=media_type, headers=PAGE_HEADERS))


def _async(answer: Callable[[Request], Response]) -> Callable[[Request], Any]:
    """An endpoint that answers at once, on the event loop; Starlette would give it a thread."""

    async def answered(request: Request) -> Response:
        return answer(request)

    return answered


async def _told(request: Request, error: Exception) -> Response:
    """Any error as the protocol's object."""
    if isinstance(error, HTTPException):
        told = f"{request.method} {request.url.path[:100]}: {error.detail}; see /v1/models and /v1/chat/completions"
        error = ProtocolError(error.status_code, told, headers=dict(error.headers or {}))
    if not isinstance(error, ProtocolError):
        error = ProtocolError(500, f"{type(error).__name__}: {error}", code="server_error")
    return JSONResponse(error.document(), error.status, error.headers)


def _is_loopback_name(name: str) -> bool:
    """Whether a host is this machine by any resolver: `localhost`, or a loopback address, as any of 127.0.0.0/8.

    >>> [_is_loopback_name(name) for name in ("127.0.0.2", "[::1]", "127.0.0.1.evil.example")]
    [True, True, False]
    """
    try:
        return name == "localhost" or ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def _own_hosts_alone(app: ASGIApp) -> ASGIApp:
    async def checked(scope: Scope, receive: Receive, send: Send) -> None:
        hosts = [value.decode("latin-1") for name, value in scope.get("headers", ()) if name == b"host"]
        name = hosts[0].lower() if hosts else ""
        name = name if name.endswith("]") else name.rpartition(":")[0] or name
        if _is_loopback_name(name):
            await app(scope, receive, send)
            return
        error = ProtocolError(403, f"host {name[:60]!r}: this server answers at a loopback address alone", code="host")
        await JSONResponse(error.document(), error.status)(scope, receive, send)

    return checked
