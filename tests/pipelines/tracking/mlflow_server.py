"""A real MLflow server in a process of its own, and a proxy before it that misbehaves as it is told."""

import http.client
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

START_SECONDS = 120
HOP_HEADERS = {"connection", "transfer-encoding", "content-length"}


class MlflowServer:
    """A server on a SQLite file, whose rows can be wiped and locked behind its back."""

    def __init__(self, database: Path, port: int) -> None:
        self.database = database
        self.port = port

    def wipe(self) -> None:
        """Empty every table, as if the server had been set up a moment ago."""
        with closing(sqlite3.connect(self.database)) as connection, connection:
            tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
            for table in tables:
                if table not in ("alembic_version", "sqlite_sequence", "experiments", "workspaces"):
                    connection.execute(f'delete from "{table}"')
            connection.execute("delete from experiments where experiment_id != 0")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Inside, another program holds the SQLite file in one long transaction."""
        with closing(sqlite3.connect(self.database, isolation_level=None)) as connection:
            connection.execute("begin exclusive")
            yield
            connection.execute("rollback")


@contextmanager
def mlflow_server(folder: Path, fresh_database: Path) -> Iterator[MlflowServer]:
    database, port = folder / "mlflow.db", free_port()
    shutil.copy(fresh_database, database)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    places = ["--backend-store-uri", f"sqlite:///{database}", "--artifacts-destination", str(folder / "files")]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.txt").open("wb") as log:
        process = subprocess.Popen([*command, *places], env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_until_it_answers(port, process, folder / "server.txt")
        yield MlflowServer(database, port)
    finally:
        os.killpg(process.pid, 9)
        process.wait()


class FaultProxy:
    """Passes requests on to a server, or does not, or slowly, or keeps the answer to itself."""

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.port = free_port()
        self.delay_seconds = 0.0
        self.loses_first_answers = False
        """The first answer to each kind of call that changes something is lost, after it was applied."""
        self.lost: set[str] = set()
        self._server: ThreadingHTTPServer | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        self._server = _Server(("127.0.0.1", self.port), _handler(self))
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def down(self) -> None:
        """From now on connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def loses(self, method: str, path: str) -> bool:
        """Whether the answer to this call is to be lost."""
        call = f"{method} {path.partition('?')[0]}"
        if not self.loses_first_answers or method == "GET" or path.endswith("/search") or call in self.lost:
            return False
        self.lost.add(call)
        return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def pass_on(self) -> None:
            time.sleep(proxy.delay_seconds)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            upstream = http.client.HTTPConnection("127.0.0.1", proxy.server_port, timeout=60)
            with closing(upstream):
                upstream.request(self.command, self.path, body, dict(self.headers))
                answer = upstream.getresponse()
                data = answer.read()
                if proxy.loses(self.command, self.path):
                    return
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in HOP_HEADERS:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on  # noqa: N815

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    return Handler


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_answers(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"MLflow did not start within {START_SECONDS} s: {log.read_text()}")
