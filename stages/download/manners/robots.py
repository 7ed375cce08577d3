"""The robots.txt of an origin (RFC 9309), and AIPREF's Content-Usage in it.

A missing file allows everything; one that cannot be got at the moment forbids everything, and its rows may be tried
again another day. Lines of `Content-Usage` are rules with paths like those of `Disallow`, and are read by the same
parser: `Content-Usage: /art/ train-ai=n` forbids what `Disallow: /art/` would.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from stages.download.manners.usage_terms import USER_AGENT_TOKEN, training_use
from stages.download.reasons import Reason
from stages.origins.web_address import WebAddress

MAX_ROBOTS_BYTES: Final = 512 * 1024
"""Beginning of a robots.txt that is read; RFC 9309 asks for 500 KiB at least."""
NO_RULE: Final = "Crawl-delay: 0"
"""A line of robots.txt that says nothing of any address."""
SAME_AS_PICTURE: Final = frozenset(
    {
        Reason.HOST_UNKNOWN,
        Reason.DNS_ERROR,
        Reason.CONNECT_ERROR,
        Reason.TLS_ERROR,
        Reason.TIMEOUT,
        Reason.URL_FORBIDDEN_ADDRESS,
        Reason.CUT_SHORT,
        Reason.BAD_RESPONSE,
    }
)
"""Failures of a robots.txt that its host would have for the picture, too: the row ends with the same reason."""
ALLOWING: Final = frozenset(
    {
        Reason.NOT_FOUND,
        Reason.REFUSED,
        Reason.HTTP_STATUS,
        Reason.EMPTY_BODY,
        Reason.REDIRECT_LOOP,
        Reason.REDIRECT_FORBIDDEN,
    }
)
"""Failures that mean that there is no robots.txt, which allows everything."""


@dataclass(frozen=True)
class Robots:
    """The rules of one origin: those of its robots.txt, or why there are none."""

    text: str = ""
    failure: Reason | None = None

    def verdict(self, address: WebAddress) -> tuple[str, Reason | None]:
        """A word for the evidence, and why the address must not be asked for, if it must not."""
        if self.failure in ALLOWING:
            return "none", None
        if self.failure is not None:
            return "unreachable", self.failure if self.failure in SAME_AS_PICTURE else Reason.ROBOTS_UNREACHABLE
        if not self._crawling.can_fetch(address.url, USER_AGENT_TOKEN):
            return "disallowed", Reason.ROBOTS_DISALLOWED
        if not self._training.can_fetch(address.url, USER_AGENT_TOKEN):
            return "training disallowed", Reason.TRAINING_REFUSED
        return "allowed", None

    @cached_property
    def _crawling(self) -> Any:
        return _parsed(self.text)

    @cached_property
    def _training(self) -> Any:
        return _parsed("\n".join(map(_as_training_rule, self.text.splitlines())))


def robots_of(body: bytes) -> Robots:
    """The rules in a robots.txt; of a long one those in the beginning, without the line that its end cuts through."""
    if len(body) > MAX_ROBOTS_BYTES:
        body = body[: max(body.rfind(end, 0, MAX_ROBOTS_BYTES) for end in (b"\n", b"\r")) + 1]
    return Robots(body.decode("utf-8-sig", "replace"))


def robots_address(address: WebAddress) -> WebAddress:
    """Where the robots.txt of an address lies, which also stands for its origin."""
    return WebAddress(address.scheme, address.host, address.port, "/robots.txt")


def _parsed(text: str) -> Any:
    from protego import Protego

    return Protego.parse(text)


def _as_training_rule(line: str) -> str:
    """A line of robots.txt as it reads where only the use for training is asked about.

    A rule about anything else decides nothing, but it still ends the names of the group that it stands in.
    """
    name, colon, value = line.partition("#")[0].partition(":")
    match name.strip().lower():
        case "allow" | "disallow" | "crawl-delay":
            return NO_RULE
        case "sitemap":
            return ""
        case "content-usage" if colon:
            path, _, usage = value.strip().partition(" ") if value.strip().startswith("/") else ("/", "", value)
            rule = {"n": "Disallow", "y": "Allow"}.get(training_use(usage) or "")
            return f"{rule}: {path}" if rule else NO_RULE
    return line
