"""Tells a part whose pictures are gone from one that could not ask: a network that is down, a downloader that fails.

Such a part fails and is repeated, so that its URLs are not recorded as lost for good.
"""

from __future__ import annotations

from collections.abc import Sequence

from stages.contract import NetworkDownError, StageError
from stages.download.reasons import Reason

MAX_SHARE_UNREACHABLE = 0.8
"""Share of a part's hosts that may be unreachable before the network of this machine is taken to be down."""
MAX_SHARE_DNS_ERRORS = 0.25
"""Share of a part's hosts whose names may get no answer. A resolver that fails for some of the names at random leaves
the others working, so the part does not look as if the network were down; of lists of the web, a few percent end so."""
MIN_HOSTS_TO_JUDGE_NETWORK = 20
"""Hosts that a part must have asked before those shares are looked at."""
MAX_SHARE_UNEXPLAINED = 0.05
"""Share of a part's URLs that may fail in the downloader itself."""
MIN_UNEXPLAINED = 5
"""URLs that may fail in the downloader itself, however small the part is."""
ACCEPT = "If it is the hosts of the list that are gone, set accept_unreachable=True"
UNREACHABLE = frozenset({Reason.DNS_ERROR, Reason.CONNECT_ERROR})


def check_network(hosts: Sequence[str], outcomes: Sequence[object], *, accept_unreachable: bool | None = None) -> None:
    """Raise `NetworkDownError` if this machine's network or resolver is down, before URLs are recorded as lost.

    `hosts` and `outcomes` are about the same URLs, one by one. Hosts are counted, not URLs, because one dead host may
    fill a whole part. With `accept_unreachable` nothing is judged; None is for recipes that have no such field.
    """
    num_hosts = len(set(hosts))
    if accept_unreachable or num_hosts < MIN_HOSTS_TO_JUDGE_NETWORK:
        return
    ends = list(zip(hosts, outcomes, strict=True))
    num_silent = num_hosts - len({host for host, outcome in ends if outcome not in UNREACHABLE})
    num_unresolved = num_hosts - len({host for host, outcome in ends if outcome is not Reason.DNS_ERROR})
    for num, max_share, what in (
        (num_silent, MAX_SHARE_UNREACHABLE, "could not be reached at all, so the network of this machine"),
        (num_unresolved, MAX_SHARE_DNS_ERRORS, "got no answer from the resolver, so the resolver of this machine"),
    ):
        if num > max_share * num_hosts:
            otherwise = "" if accept_unreachable is None else f". {ACCEPT}"
            raise NetworkDownError(
                f"{num} of {num_hosts} hosts {what} is taken to be down and nothing was recorded; check it, then run "
                f"the command again{otherwise}"
            )


def check_downloader(outcomes: Sequence[object], remarks: Sequence[str]) -> None:
    """Raise `StageError` if the downloader itself fails at more than a few rare pictures."""
    num_unexplained = outcomes.count(Reason.UNEXPLAINED)
    if num_unexplained > max(MIN_UNEXPLAINED, MAX_SHARE_UNEXPLAINED * len(outcomes)):
        raise StageError(
            f"{num_unexplained} of {len(outcomes)} URLs failed in the downloader itself, so nothing was recorded; "
            f"its errors: {'; '.join(remarks) or 'none'}"
        )
