"""Which URLs may be asked for, and which addresses they may lead to. Everything is refused that is not allowed.

A URL is checked as text, its host is resolved once, every answer must be on the public internet, and the connection
goes to an address that was checked: no name can change its mind in between. `routes` is the one explicit exception:
hosts that an origin of our own maps to a server on this machine.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from stages.download.reasons import Reason, RowError
from stages.origins.routes import Routes, SocketAddress

MAX_URL_CHARS: Final = 8192
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
NUM_RESOLVER_THREADS: Final = 8
GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
NOT_REALLY_GLOBAL: Final = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # protocol assignments
    ipaddress.IPv4Network("192.88.99.0/24"),  # relays into 6to4
    ipaddress.IPv6Network("2002::/16"),  # 6to4: any IPv4 address in disguise
    ipaddress.IPv6Network("2001::/32"),  # Teredo: likewise
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_HOST: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|[0-9a-f:.]+:[0-9a-f:.]*")
_KEPT_IN_PATH: Final = "%/:=&?~#+!$,;'@()*[]|"


@dataclass(frozen=True, slots=True)
class WebAddress:
    """A URL that may be asked for, taken apart and normalised to ASCII."""

    scheme: str
    host: str
    port: int
    target: str
    """Path and query, as the request line says them."""

    @property
    def authority(self) -> str:
        """Host and, where it is not the usual one, port: the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"

    def follow(self, location: str) -> WebAddress:
        """Where a redirect leads. Raises `RowError` (redirect_forbidden)."""
        try:
            hop = parse_address(urljoin(self.url, location.strip()))
        except (RowError, ValueError) as error:
            raise RowError(Reason.REDIRECT_FORBIDDEN) from error
        if self.scheme == "https" and hop.scheme == "http":
            raise RowError(Reason.REDIRECT_FORBIDDEN)
        return hop


def parse_address(url: str) -> WebAddress:
    """Check a URL as text. Raises `RowError` (url_scheme, url_malformed)."""
    if len(url) > MAX_URL_CHARS or _CONTROL.search(url):
        raise RowError(Reason.URL_MALFORMED)
    try:
        parts = urlsplit(url.strip())
        port = parts.port
        host = _ascii_host(parts.hostname or "")
    except ValueError as error:
        raise RowError(Reason.URL_MALFORMED) from error
    if parts.scheme not in DEFAULT_PORTS:
        raise RowError(Reason.URL_SCHEME)
    if "@" in parts.netloc or port == 0 or not _HOST.fullmatch(host):
        raise RowError(Reason.URL_MALFORMED)
    query = f"?{quote(parts.query, safe=_KEPT_IN_PATH)}" if parts.query else ""
    target = quote(parts.path or "/", safe=_KEPT_IN_PATH) + query
    return WebAddress(parts.scheme, host, port or DEFAULT_PORTS[parts.scheme], target)


def is_public(address: str) -> bool:
    """Whether an IP address is one that anybody on the internet can reach, and stands for no other."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address) and ip not in GLOBAL_UNICAST:
        return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in NOT_REALLY_GLOBAL)


class Resolver:
    """Finds where to connect. Shared by the threads of a part; remembers each name for as long as the part lasts."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._known: dict[tuple[str, int], tuple[SocketAddress, ...]] = {}
        self._threads = ThreadPoolExecutor(NUM_RESOLVER_THREADS, thread_name_prefix="resolve")

    def close(self) -> None:
        """Let go of the threads without waiting for names that never resolve."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def places(self, address: WebAddress, timeout_seconds: float) -> tuple[SocketAddress, ...]:
        """Checked addresses to connect to, in order of preference. Raises `RowError`."""
        if address.host in self._routes and address.scheme == "http":
            return (self._routes[address.host],)
        name = (address.host, address.port)
        if name not in self._known:
            try:
                self._known[name] = self._threads.submit(_public_places, *name).result(timeout_seconds)
            except TimeoutError as error:
                raise RowError(Reason.TIMEOUT) from error
        return self._known[name]


def _public_places(host: str, port: int) -> tuple[SocketAddress, ...]:
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        unknown = error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
        raise RowError(Reason.HOST_UNKNOWN if unknown else Reason.DNS_ERROR) from error
    except UnicodeError as error:  # labels that are too long
        raise RowError(Reason.URL_MALFORMED) from error
    places = tuple((str(answer[4][0]), port) for answer in answers)
    if not all(is_public(address) for address, _ in places):
        raise RowError(Reason.URL_FORBIDDEN_ADDRESS)
    return places


def _ascii_host(host: str) -> str:
    """Lower case, international names as the resolver wants them. Raises `ValueError`."""
    return host if host.isascii() else host.encode("idna").decode("ascii")
