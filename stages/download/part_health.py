"""Tells a part whose pictures are gone from one that could not ask: a network that is down, a downloader that fails.

Such a part fails and is repeated, so that its URLs are not recorded as lost for good.
"""

from __future__ import annotations

from collections.abc import Sequence

from stages.contract import NetworkDownError, StageError
from stages.download.reasons import Reason

MAX_SHARE_UNREACHABLE = 0.8
"""Share of a part's hosts that may be unreachable before the network of this machine is taken to be down."""
MIN_HOSTS_TO_JUDGE_NETWORK = 20
"""Hosts that a part must have asked before that share is looked at."""
MAX_SHARE_UNEXPLAINED = 0.05
"""Share of a part's URLs that may fail in the downloader itself."""
MIN_UNEXPLAINED = 5
"""URLs that may fail in the downloader itself, however small the part is."""
UNREACHABLE = frozenset({Reason.DNS_ERROR, Reason.CONNECT_ERROR})


def check_network(hosts: Sequence[str], outcomes: Sequence[object]) -> None:
    """Raise `NetworkDownError` if the network of this machine is down, before its URLs are recorded as lost.

    `hosts` and `outcomes` are about the same URLs, one by one. Hosts are counted, not URLs, because one dead host may
    fill a whole part.
    """
    answered = {host for host, outcome in zip(hosts, outcomes, strict=True) if outcome not in UNREACHABLE}
    num_hosts = len(set(hosts))
    num_silent = num_hosts - len(answered)
    if num_hosts >= MIN_HOSTS_TO_JUDGE_NETWORK and num_silent > MAX_SHARE_UNREACHABLE * num_hosts:
        raise NetworkDownError(
            f"{num_silent} of {num_hosts} hosts could not be reached at all, so the network of this machine is taken "
            "to be down and nothing was recorded; check it, then run the command again"
        )


def check_downloader(outcomes: Sequence[object], remarks: Sequence[str]) -> None:
    """Raise `StageError` if the downloader itself fails at more than a few rare pictures."""
    num_unexplained = outcomes.count(Reason.UNEXPLAINED)
    if num_unexplained > max(MIN_UNEXPLAINED, MAX_SHARE_UNEXPLAINED * len(outcomes)):
        raise StageError(
            f"{num_unexplained} of {len(outcomes)} URLs failed in the downloader itself, so nothing was recorded; "
            f"its errors: {'; '.join(remarks) or 'none'}"
        )
