"""What a response says about the use of its body: opt-outs from training, and their words as evidence.

Three ways are read: directives of X-Robots-Tag, as img2dataset reads them; `tdm-reservation: 1`, by which a publisher
reserves text and data mining (W3C's TDMRep); and `train-ai=n` in Content-Usage (IETF's AIPREF).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Final, Literal, TypeAlias

from stages.download.reasons import Reason

OptOut: TypeAlias = Literal["x_robots_tag", "tdm_reservation", "content_usage"]
"""Ways in which a server may forbid that its picture is used for training."""
ALL_OPT_OUTS: Final[tuple[OptOut, ...]] = ("x_robots_tag", "tdm_reservation", "content_usage")
OPT_OUT_DIRECTIVES: Final = ("noai", "noimageai", "noindex", "noimageindex", "none")
"""Directives of X-Robots-Tag that forbid the use of a picture, as img2dataset reads them."""
VALUED_DIRECTIVES: Final = ("max-snippet", "max-image-preview", "max-video-preview", "unavailable_after")
"""Directives of X-Robots-Tag that have a value behind a colon, as names of clients have directives."""
_AGENT: Final = re.compile(r"\S*[a-z]\S*")
USER_AGENT_TOKEN: Final = "neo-pipelines"
"""The name by which servers may allow or forbid things to us."""
EVIDENCE_HEADERS: Final = ("X-Robots-Tag", "TDM-Reservation", "TDM-Policy", "Content-Usage")
MAX_EVIDENCE_CHARS: Final = 1000
"""Longest evidence that is kept of one response."""


@dataclass(frozen=True, kw_only=True)
class Manners:
    """Which wishes of servers are respected. Part of the recipe, so part of identity."""

    opt_outs: tuple[OptOut, ...] = ALL_OPT_OUTS
    """Ways to opt out that are respected."""
    robots: Literal["ignore", "respect"] = "ignore"
    """Whether the robots.txt of each host is asked for, and obeyed."""


@dataclass(slots=True)
class UsageTerms:
    """What was said about the use of one picture when it was asked for; evidence, kept or not."""

    robots: str | None = None
    """What robots.txt says of the last address: allowed, disallowed, none or unreachable; None where it is ignored."""
    headers: str | None = None
    """The header lines of the last response that are about use; None where there are none."""


def refusal(headers: Message, opt_outs: Sequence[OptOut]) -> Reason | None:
    """Why the use of a body is forbidden by its headers, or None where it is not, or that way is not respected."""
    if "x_robots_tag" in opt_outs and is_opted_out(headers):
        return Reason.OPT_OUT
    if "tdm_reservation" in opt_outs and "1" in (value.strip() for value in headers.get_all("TDM-Reservation", [])):
        return Reason.TDM_RESERVED
    if "content_usage" in opt_outs and "n" in (training_use(value) for value in headers.get_all("Content-Usage", [])):
        return Reason.TRAINING_REFUSED
    return None


def is_opted_out(headers: Message, agents: Sequence[str] = (USER_AGENT_TOKEN,)) -> bool:
    """Whether X-Robots-Tag forbids this use to everyone, or to one of `agents`.

    `noai` is for everyone, `otherbot: noai` for another, `neo-pipelines: noai` for us; a name holds up to the next one.
    In `max-snippet:-1, noai` no one is named: a colon stands behind directives with a value, and in times, too.
    """
    for value in headers.get_all("X-Robots-Tag", []):
        is_for_us = True
        for part in str(value).lower().split(","):
            name, colon, rest = map(str.strip, part.partition(":"))
            is_named = bool(colon) and _is_agent(name)
            is_for_us = name in agents if is_named else is_for_us
            if is_for_us and (rest if is_named else part.strip()) in OPT_OUT_DIRECTIVES:
                return True
    return False


def _is_agent(name: str) -> bool:
    """Whether what stands before a colon, in lower case, names a client."""
    return name not in VALUED_DIRECTIVES and _AGENT.fullmatch(name) is not None


def training_use(usage: str) -> str | None:
    """The preference for `train-ai` in a Content-Usage: y, n, or None where it has none that can be read.

    `train-ai=n, search=y` has n. Of a key that is given twice the last counts, as in all dictionaries of structured
    headers; parameters behind a semicolon say nothing.
    """
    found = None
    for member in usage.split(","):
        key, _, value = member.strip().partition("=")
        if key == "train-ai":
            token = value.partition(";")[0].strip()
            found = token if token in ("y", "n") else None
    return found


def evidence(headers: Message) -> str | None:
    """The header lines that are about use, in a fixed order, or None where there are none."""
    lines = [f"{name}: {value}" for name in EVIDENCE_HEADERS for value in headers.get_all(name, [])]
    return "\n".join(lines)[:MAX_EVIDENCE_CHARS] or None
