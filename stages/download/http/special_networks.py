"""Networks that are no part of the public web, or lead to a machine's own host, and are therefore never asked.

Owns the special-purpose registries of IANA for IPv4 and IPv6 as they were on 2025-10-09, and the endpoints inside large
clouds. A site adds its own (`refused_networks`), such as public addresses that lead into its company: these, and the
endpoints from which machines get credentials, are not asked even where a recipe allows a host on a private network.
"""

from __future__ import annotations

import ipaddress
import os
from functools import lru_cache
from typing import Final, TypeAlias

from stages.contract import REFUSED_NETWORKS_VARIABLE

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_SPECIAL: Final = """
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16
    192.0.0.0/24 192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 198.18.0.0/15
    192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.175.48.0/24 224.0.0.0/4 240.0.0.0/4
    ::/128 ::1/128 ::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64
    2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8
"""
"""The registries. Some of these networks answer on the public internet (192.31.196.0/24 and 2620:4f:8000::/48 are name
servers of private addresses, 192.52.193.0/24 relays of multicast), but none of them serves pictures. 2002::/16 and
2001::/32, in 2001::/23, embed an IPv4 address, so they lead to any other network."""

_SERVICES: Final = "161.26.0.0/16 166.8.0.0/14 199.36.153.4/30 199.36.153.8/30"
"""Services inside a cloud under public addresses: IBM's, and Google's interfaces."""

_HOST_ENDPOINTS: Final = """
    168.63.129.16/32 169.254.169.254/32 169.254.170.2/32 169.254.170.23/32 100.100.100.200/32 192.0.0.192/32
    169.254.0.23/32 fd00:ec2::254/128 fd00:ec2::23/128 fd20:ce::254/128 fe80::a9fe:a9fe/128
"""
"""Where machines of clouds get settings and credentials from: Azure (168.63.129.16), AWS, Alibaba, Oracle, Tencent,
Google, OpenStack. Nobody keeps pictures there, so no recipe can allow them."""

GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""All IPv6 addresses that were ever given out for the public internet."""


def parse_networks(text: str) -> tuple[Network, ...]:
    """Networks with white space or commas between them. Raises `ValueError` naming one that is none."""
    return tuple(ipaddress.ip_network(one) for one in text.replace(",", " ").split())


NOT_PUBLIC: Final = parse_networks(f"{_SPECIAL} {_SERVICES}")
"""Networks that are asked only for hosts that a recipe names (`allow_hosts`)."""
NEVER_ASKED: Final = parse_networks(_HOST_ENDPOINTS)
"""Networks that are asked for nobody."""


@lru_cache(maxsize=1)
def _of_site(text: str) -> tuple[Network, ...]:
    return parse_networks(text)


def is_refused(address: str) -> bool:
    """Whether an IP address is asked for nobody: an endpoint of a cloud's machines, or refused by the site."""
    ip = ipaddress.ip_address(address)
    return any(ip in network for network in (*NEVER_ASKED, *_of_site(os.environ.get(REFUSED_NETWORKS_VARIABLE, ""))))


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, embeds no other, and is not refused."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address) and ip not in GLOBAL_UNICAST:
        return False
    # Python's own table is asked as well: a newer Python may know a network that the one above does not.
    is_known = ip.is_global and not ip.is_multicast and not any(ip in network for network in NOT_PUBLIC)
    return is_known and not is_refused(address)
