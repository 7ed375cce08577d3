"""A proxy in front of an S3 server that answers what a bad day answers: errors, lost answers, cut bodies.

Faults are asked for by method and the end of the key, and happen a stated number of times. Everything else passes.
"""

import enum
import http.client
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

ALWAYS = 1_000_000
TO_THE_NEXT_ONLY = {"connection", "transfer-encoding", "content-length", "keep-alive"}
LISTING = "list-type=2"
NOTHING_LISTED = "<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>"
CONDITIONS = {"if-none-match", "if-match"}


class Fault(enum.Enum):
    """What happens to a request."""

    EXPIRED = 400
    """Refused: the credentials were temporary, and their time is over."""
    FORBIDDEN = 403
    """Refused: the credentials are good for nothing any more."""
    CONFLICT = 409
    """Refused: another conditional request to this key is under way. Nothing was written."""
    EXISTS = 412
    """Refused by its condition, whatever the server would say."""
    BROKEN = 500
    SLOW_DOWN = 503
    BROKEN_AFTER = "500 after it was applied"
    DROPPED = "no answer, and nothing was applied"
    DROPPED_AFTER = "no answer, though it was applied"
    CUT = "the body ends before the length that was announced"
    SHORTENED = "half of the body, announced as if it were all"
    EMPTY_LISTING = "a listing that shows nothing yet of what was written"
    UNCONDITIONAL = "the condition is not heard: an old server"


PASSING = [Fault.BROKEN, Fault.SLOW_DOWN, Fault.DROPPED, Fault.DROPPED_AFTER, Fault.BROKEN_AFTER]
CODES = {
    Fault.EXPIRED: "ExpiredToken",
    Fault.FORBIDDEN: "AccessDenied",
    Fault.CONFLICT: "ConditionalRequestConflict",
    Fault.EXISTS: "PreconditionFailed",
    Fault.BROKEN: "InternalError",
    Fault.SLOW_DOWN: "SlowDown",
    Fault.BROKEN_AFTER: "InternalError",
}


@dataclass
class Rule:
    fault: Fault
    method: str
    key_end: str
    times: int
    num_hits: int = 0


@dataclass
class FaultProxy:
    """The proxy under way. `address` is what a store is given instead of the server's."""

    address: str
    rules: list[Rule] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of every request, in order."""
    watch: Callable[[str, str], None] | None = None
    """Hears of each request before it is looked at; may ask for more."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, fault: Fault, method: str = "", key_end: str = "", times: int = 1) -> Rule:
        """Let `fault` happen to the next `times` requests of this method whose key ends so; '' means any."""
        rule = Rule(fault, method, key_end, times)
        with self.lock:
            self.rules.append(rule)
        return rule

    @staticmethod
    def _fits(rule: Rule, method: str, path: str) -> bool:
        return rule.method in ("", method) and path.endswith(rule.key_end)

    def take(self, method: str, path: str, query: str = "") -> Fault | None:
        if self.watch is not None:
            self.watch(method, path)
        with self.lock:
            self.seen.append((method, path))
            for rule in self.rules:
                is_meant = rule.fault is not Fault.EMPTY_LISTING or LISTING in query
                if is_meant and rule.num_hits < rule.times and self._fits(rule, method, path):
                    rule.num_hits += 1
                    return rule.fault
        return None

    def num_seen(self, method: str, key_end: str) -> int:
        with self.lock:
            return sum(1 for seen, path in self.seen if seen == method and path.endswith(key_end))


def storm(proxy: FaultProxy, chance: random.Random) -> Callable[[str, str], None]:
    """To be the proxy's `watch`: one request in eight meets what a store is to get through."""

    def break_some(method: str, path: str) -> None:
        if chance.random() < 1 / 8:
            conflict = [Fault.CONFLICT] if method == "PUT" and path.endswith(".json") else []
            proxy.ask(chance.choice([*PASSING, *conflict]), method, path)

    return break_some


class Listener(ThreadingHTTPServer):
    """A server whose clients may die in the middle of a request."""

    daemon_threads = True

    def handle_error(self, *words: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*words)


@contextmanager
def fault_proxy(server: str) -> Iterator[FaultProxy]:
    """A proxy in front of the S3 server at this address."""
    place = urlsplit(server)
    assert place.hostname is not None
    host, port = place.hostname, place.port or 80

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            place = urlsplit(self.path)
            fault = proxy.take(self.command, unquote(place.path), place.query)
            if fault is Fault.DROPPED:
                self.hang_up()
            elif fault is Fault.EMPTY_LISTING:
                self.answer_xml(200, NOTHING_LISTED)
            elif fault is not None and isinstance(fault.value, int):
                self.answer_error(fault, fault.value)
            else:
                self.pass_on(fault, body)

        def pass_on(self, fault: Fault | None, body: bytes) -> None:
            dropped = TO_THE_NEXT_ONLY | (CONDITIONS if fault is Fault.UNCONDITIONAL else set())
            headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
            onward = http.client.HTTPConnection(host, port, timeout=30)
            try:
                onward.request(self.command, self.path, body, headers)
                answer = onward.getresponse()
                data = answer.read()
            finally:
                onward.close()
            if fault is Fault.DROPPED_AFTER:
                self.hang_up()
            elif fault is Fault.BROKEN_AFTER:
                self.answer_error(fault, 500)
            else:
                self.answer(answer, data, fault)

        def answer(self, answer: http.client.HTTPResponse, data: bytes, fault: Fault | None) -> None:
            sent = data[: len(data) // 2] if fault in (Fault.CUT, Fault.SHORTENED) else data
            announced = answer.getheader("Content-Length", "0") if self.command == "HEAD" else str(len(data))
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in TO_THE_NEXT_ONLY:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(sent)) if fault is Fault.SHORTENED else announced)
            self.end_headers()
            self.wfile.write(sent)
            if fault is Fault.CUT:
                self.wfile.flush()
                self.hang_up()

        def answer_error(self, fault: Fault, status: int) -> None:
            self.answer_xml(status, f"<Error><Code>{CODES[fault]}</Code><Message>asked for</Message></Error>")

        def answer_xml(self, status: int, document: str) -> None:
            text = f"<?xml version='1.0'?>{document}"
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text.encode())

        def hang_up(self) -> None:
            self.close_connection = True
            self.connection.shutdown(2)

        def log_message(self, *words: object) -> None:
            pass

    for method in ("GET", "PUT", "HEAD", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.handle_any)
    listener = Listener(("127.0.0.1", 0), Handler)
    proxy = FaultProxy(address=f"http://127.0.0.1:{listener.server_address[1]}")
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()
