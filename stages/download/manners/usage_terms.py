"""What a response says about the use of its body: opt-outs from training."""

from __future__ import annotations

from collections.abc import Sequence
from email.message import Message
from typing import Final

OPT_OUT_DIRECTIVES: Final = ("noai", "noimageai", "noindex", "noimageindex", "none")
"""Directives of X-Robots-Tag that forbid the use of a picture, as img2dataset reads them."""
USER_AGENT_TOKEN: Final = "neo-pipelines"
"""The name by which servers may allow or forbid things to us."""


def is_opted_out(headers: Message, agents: Sequence[str] = (USER_AGENT_TOKEN,)) -> bool:
    """Whether X-Robots-Tag forbids this use to everyone, or to one of `agents`.

    `noai` is for everyone, `otherbot: noai` for another, `neo-pipelines: noai` for us.
    """
    for value in headers.get_all("X-Robots-Tag", []):
        agent, colon, directives = str(value).partition(":")
        if colon and agent.strip().lower() not in agents:
            continue
        listed = (directives if colon else str(value)).lower().split(",")
        if not set(OPT_OUT_DIRECTIVES).isdisjoint(map(str.strip, listed)):
            return True
    return False
