"""A dashboard behind a login, and a proxy on the way to it: real servers on loopback, of TLS and HTTP.

The login hands on what carries its header and cookie to a server behind it, and answers everything else as logins do:
with a page, or with 401. The proxy tunnels (`CONNECT`) to the one host that it knows, by a name that it alone knows.
"""

import datetime
import http.client
import ipaddress
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

HOST = "dashboard.invalid"
"""Name of the dashboard, which only the proxy can resolve."""
PAGE = b"<html><body>Please sign in</body></html>"


def own_certificate(folder: Path) -> Path:
    """A certificate for `HOST` and loopback, signed by itself, and its key in the same file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName(HOST), x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "certificate.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return path


@contextmanager
def served(handler: type[BaseHTTPRequestHandler], certificate: Path | None = None) -> Iterator[int]:
    """A server on a free port of loopback, over TLS with a certificate."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients that do not trust the certificate go away in the middle
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def login_before(upstream: str, header: str, cookie: str, certificate: Path, refusal: int = 200) -> Iterator[int]:
    """A login before `upstream` that wants `X-Login: header` and the cookie `session=cookie`."""

    class Login(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            is_known = self.headers.get("X-Login") == header and f"session={cookie}" in self.headers.get("Cookie", "")
            status, answer, kind = self.asked_behind(body) if is_known else (refusal, PAGE, "text/html")
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def asked_behind(self, body):
            behind = http.client.HTTPConnection(urlsplit(upstream).netloc, timeout=60)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "cookie")}
            behind.request(self.command, self.path, body, headers)
            answer = behind.getresponse()
            return answer.status, answer.read(), answer.headers.get("Content-Type", "text/plain")

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

    with served(Login, certificate) as port:
        yield port


@contextmanager
def proxy_to(port: int) -> Iterator[tuple[str, list[str]]]:
    """A proxy that tunnels to `HOST`, which is `port` of loopback. Yields its URL and what it was asked for."""
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_CONNECT(self):
            asked.append(self.path)
            if not self.path.startswith(HOST):
                self.send_error(403)
                return
            with socket.create_connection(("127.0.0.1", port)) as there:
                self.send_response(200)
                self.end_headers()
                ends = {self.connection: there, there: self.connection}
                while readable := select.select(list(ends), [], [], 60)[0]:
                    for end in readable:
                        if not (some := end.recv(65536)):
                            return
                        ends[end].sendall(some)

    with served(Proxy) as proxy_port:
        yield f"http://127.0.0.1:{proxy_port}", asked
