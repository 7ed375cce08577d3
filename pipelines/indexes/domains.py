"""Domains of URLs: what somebody registered (eTLD+1), by the public suffix list of the package `publicsuffixlist`.

`a.b.example.co.uk` belongs to `example.co.uk`. Only suffixes of ICANN count, so `shop.blogspot.com` belongs to
`blogspot.com`: who asks for the host itself gets the URLs of that host, out of the parts that hold its domain.
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from stages.takedowns.hosts import HOST, MAX_KNOWN_HOSTS, is_address, plain_host

if TYPE_CHECKING:
    import pyarrow as pa
    from publicsuffixlist import PublicSuffixList


def hosts_of_urls(urls: pa.ChunkedArray) -> set[str]:
    """The different hosts of a column of URLs, as `plain_host` spells them; '' where there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    # As bytes: text in Parquet need not be UTF-8.
    found = pc.extract_regex(urls.drop_null().cast(pa.large_binary()), HOST)
    hosts = pc.unique(pc.struct_field(found, [0])).drop_null().to_pylist()
    return {plain_host(host.decode("utf-8", "replace")) for host in hosts}


@lru_cache(maxsize=MAX_KNOWN_HOSTS)
def domain_of(host: str) -> str:
    """The domain that a host belongs to: itself, if it is an address or a public suffix.

    >>> domain_of("cdn.shop.example.co.uk"), domain_of("10.0.0.7"), domain_of("localhost")
    ('example.co.uk', '10.0.0.7', 'localhost')
    """
    if is_address(host):
        return host
    return _suffixes().privatesuffix(host) or host


def is_above_domains(host: str) -> bool:
    """Whether hosts below this one belong to other domains than it does, so that no single domain holds them all.

    >>> is_above_domains("co.uk"), is_above_domains("example.co.uk"), is_above_domains("shop.example.co.uk")
    (True, False, False)
    """
    if is_address(host):
        return False
    return domain_of(f"0.{host}") != domain_of(host) or host in _above_suffixes()


def has_known_suffix(host: str) -> bool:
    """Whether a host may be one of the internet: an address, or a name that ends as one of the list.

    >>> has_known_suffix("10.0.0.7"), has_known_suffix("a.co.uk"), has_known_suffix("photo.jpg")
    (True, True, False)
    """
    return is_address(host) or host.rpartition(".")[2] in _last_labels()


@cache
def _last_labels() -> frozenset[str]:
    return frozenset(plain_host(one.rpartition(".")[2]) for one in _suffixes()._publicsuffix)


@cache
def _above_suffixes() -> frozenset[str]:
    """Everything above a public suffix, suffixes or not: `hedmark.no` is none, and `os.hedmark.no` is one."""
    from publicsuffixlist import PSLFILE

    listed = Path(PSLFILE).read_text("utf-8").partition("===END ICANN DOMAINS===")[0].splitlines()
    hosts: set[str] = set()
    for rule in (line.split()[0] for line in listed if line.strip() and not line.startswith("//")):
        labels = plain_host(rule.lstrip("!*.")).split(".")
        hosts |= {".".join(labels[first:]) for first in range(1, len(labels))}
    return frozenset(hosts)


@cache
def _suffixes() -> PublicSuffixList:
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList(only_icann=True)
