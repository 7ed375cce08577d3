"""Which URLs may be asked for, as the reasons of rows say it; redirects too.

They are taken apart as text (`origins/web_address.py`). Their hosts are resolved, and all addresses checked
(`http/special_networks.py`), in `http/resolver.py`.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urljoin

from stages.download.reasons import Reason, RowError
from stages.origins.clean_text import trim
from stages.origins.web_address import AddressError, WebAddress, read_address

WEB_STARTS: Final = ("http://", "https://")


def is_web_address(name: str) -> bool:
    """Whether the name of a picture of a conversation is asked for on the web, and not in a source of files."""
    return name.lower().startswith(WEB_STARTS)


def parse_address(url: str) -> WebAddress:
    """Check a URL as text. Raises `RowError` (url_scheme, url_malformed)."""
    try:
        return read_address(url)
    except AddressError as error:
        raise RowError(Reason.URL_SCHEME if error.is_scheme else Reason.URL_MALFORMED) from error


def follow_address(address: WebAddress, location: str) -> WebAddress:
    """The target of a redirect from an address to `location`, absolute or relative.

    Raises `RowError` (redirect_forbidden).
    """
    try:
        hop = read_address(urljoin(address.url, trim(location)))
    except ValueError as error:
        raise RowError(Reason.REDIRECT_FORBIDDEN) from error
    if address.scheme == "https" and hop.scheme == "http":
        raise RowError(Reason.REDIRECT_FORBIDDEN)
    return hop
