"""A server on a socket: bound before anything is loaded, run until Ctrl-C, ended without breaking answers off.

Owns the socket, the thread of uvicorn's event loop, and the two ways to stop. The first Ctrl-C or SIGTERM lets nothing
in any more, answers what is inside for at most `GRACE_SECONDS`, and ends; the second Ctrl-C ends at once.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pipelines.exits import RefusedError
from pipelines.running.signals import SECOND_PRESS_SECONDS, stop_on_signals

if TYPE_CHECKING:
    from starlette.types import ASGIApp

GRACE_SECONDS: Final = 30
"""How long requests that are inside may take once a stop is asked for."""
MAX_CONNECTIONS: Final = 256
"""Connections and requests at once beyond which uvicorn itself answers 503."""
POLL_SECONDS: Final = 0.5
"""How often the main thread looks whether the server has ended."""


def bound_socket(host: str, port: int, *, then: str) -> socket.socket:
    """A socket at an address, not listening yet. Raises RefusedError where that cannot be had, with the reason."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise RefusedError(f"--host {host}: {error.strerror or error}", then=then) from error
    bound = socket.socket(family, kind, protocol)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise _unavailable(error, host, port, then) from error
    return bound


def address_of(bound: socket.socket) -> str:
    """`http://127.0.0.1:8000`."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(bound: socket.socket) -> bool:
    """Whether only this machine reaches a socket."""
    return ipaddress.ip_address(bound.getsockname()[0]).is_loopback


def serve(
    app: ASGIApp,
    bound: socket.socket,
    *,
    stopping: Callable[[], None],
    say: Callable[[str], None],
    stop: threading.Event | None = None,
) -> None:
    """Run until Ctrl-C or SIGTERM, or until `stop` is set. `stopping` is called when nothing more is to be let in.

    Raises KeyboardInterrupt at a second Ctrl-C, and RefusedError where another program listens there by now.
    """
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )
    failures: list[BaseException] = []
    stop = stop or threading.Event()
    try:
        bound.listen()  # here, as uvloop tells nobody that it could not
    except OSError as error:
        host, port = bound.getsockname()[:2]
        raise _unavailable(error, host, port, "neo serve --help") from error

    def run() -> None:
        try:
            server.run(sockets=[bound])
        except BaseException as error:  # uvicorn leaves by SystemExit
            failures.append(error)
        finally:
            stop.set()

    thread = threading.Thread(target=run, name="event-loop", daemon=True)
    thread.start()
    told = f"Stopping once the answers in progress are sent, {GRACE_SECONDS} s at most; Ctrl-C again"
    told += f" within {SECOND_PRESS_SECONDS:.0f} s stops at once."
    try:
        with stop_on_signals(stop, lambda _: say(told), lambda: False):
            while not stop.wait(POLL_SECONDS):
                pass
            stopping()
            server.should_exit = True
            while thread.is_alive():
                thread.join(POLL_SECONDS)
    finally:
        server.should_exit = server.force_exit = True
        thread.join(POLL_SECONDS)
    if failures:
        raise failures[0]


def _unavailable(error: OSError, host: str, port: int, then: str) -> RefusedError:
    if error.errno == errno.EADDRINUSE:
        told = f"port {port} of {host} is in use, by another `neo serve` or another program: name another, or --port 0"
        return RefusedError(f"{told} for any that is free", then=then)
    return RefusedError(f"{host} port {port} cannot be had: {error.strerror or error}", then=then)
