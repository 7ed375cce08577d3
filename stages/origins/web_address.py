"""Addresses on the web as text: taken apart, checked and normalised to ASCII, as they are asked for.

Nothing is resolved or connected to here. `download/` asks for them, `takedowns/` knows them again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from stages.origins.clean_text import trim

MAX_URL_CHARS: Final = 8192
"""Longest URL that is asked for, in characters."""
MAX_LABEL_CHARS: Final = 63
"""Longest part of a host name between dots, in ASCII."""
SCHEME_PORTS: Final = {"http": 80, "https": 443}
# Control characters would split the request line; lone surrogates have no UTF-8.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# A name of labels, or the colons and digits of an IPv6 address (`urlsplit` has taken its brackets off).
_HOST: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|[0-9a-f:.]+:[0-9a-f:.]*")
# `%` is kept: what the URL escaped already is not escaped twice.
_KEPT_IN_PATH: Final = "%/:=&?~#+!$,;'@()*[]|"


class AddressError(ValueError):
    """A URL that may not be asked for."""

    def __init__(self, why: str, *, is_scheme: bool = False) -> None:
        super().__init__(why)
        self.is_scheme = is_scheme
        """Whether it is of another scheme than http and https."""


@dataclass(frozen=True, slots=True)
class WebAddress:
    """A URL that may be asked for, taken apart and normalised to ASCII."""

    scheme: str
    host: str
    port: int
    target: str
    """Path and query as they stand in the request line."""

    @property
    def authority(self) -> str:
        """The Host header: host, and port unless it is the default of the scheme."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == SCHEME_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The normalised URL, without a fragment."""
        return f"{self.scheme}://{self.authority}{self.target}"


@lru_cache(maxsize=16_384)
def read_address(url: str) -> WebAddress:
    """Take a URL apart. Raises `AddressError` where it may not be asked for.

    White space, line ends and invisible characters around it are no part of it: lists are full of them. Results are
    kept, some 10 MB, because a URL of a part is read with its row and again when it is asked for.
    """
    url = trim(url)
    if len(url) > MAX_URL_CHARS or _CONTROL.search(url):
        raise AddressError("it is too long, or has control characters")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = ascii_host(parts.hostname or "")
    except ValueError as error:
        raise AddressError(str(error)) from error
    if parts.scheme not in SCHEME_PORTS:
        raise AddressError("the scheme is neither http nor https", is_scheme=True)
    if "@" in parts.netloc or port == 0 or not _HOST.fullmatch(host):
        raise AddressError("it has credentials, the port 0, or a host that is none")
    query = f"?{quote(parts.query, safe=_KEPT_IN_PATH)}" if parts.query else ""
    target = quote(parts.path or "/", safe=_KEPT_IN_PATH) + query
    return WebAddress(parts.scheme, host, port or SCHEME_PORTS[parts.scheme], target)


def ascii_host(host: str) -> str:
    """The host in ASCII as browsers ask for it: percent-encoding undone, then UTS 46, non-transitional.

    `straße.example` becomes `xn--strae-oqa.example`, not `strasse.example`, which may be somebody else's; `☃.example`
    becomes `xn--n3h.example`, though IDNA 2008 has no symbols. Raises `ValueError`.
    """
    host = unquote(host, errors="strict").lower() if "%" in host and ":" not in host else host
    if host.isascii():
        return host
    import idna

    return ".".join(map(_ascii_label, idna.uts46_remap(host, std3_rules=False).split(".")))


def _ascii_label(label: str) -> str:
    import idna

    if label.isascii():
        return label
    try:
        return idna.alabel(label).decode("ascii")
    except idna.InvalidCodepoint as error:
        spelled = f"xn--{label.encode('punycode').decode('ascii')}"
        if len(spelled) > MAX_LABEL_CHARS:
            raise ValueError(f"the label {label!r} is too long") from error
        return spelled
