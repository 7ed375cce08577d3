"""Hosts as servers know them, and the domains that they belong to."""

import pyarrow as pa
import pytest

from pipelines.indexes.domains import (
    _suffixes,
    domain_of,
    hosts_of_urls,
    is_above_domains,
)
from stages.takedowns.hosts import host_of, is_within, plain_host

URLS = {
    "https://CDN.Shop.Example.co.uk:8443/a/b.jpg?x=//no.org": "cdn.shop.example.co.uk",
    "http://me:secret@pictures.example./a.jpg": "pictures.example",
    "//nothing.before.example.com": "nothing.before.example.com",
    "http://127.0.0.1:8000/1.jpg": "127.0.0.1",
    "http://[2001:db8::1]/x": "[2001:db8::1]",
    "https://MÜNCHEN.example/ä": "xn--mnchen-3ya.example",
    "pictures/one.jpg": "",
    "": "",
}


def test_a_column_and_a_single_url_have_the_same_hosts() -> None:
    assert {url: host_of(url) for url in URLS} == URLS
    column = pa.chunked_array([pa.array([*URLS, None]), pa.array(["http://pictures.example/again"])])
    assert hosts_of_urls(column) - {""} == set(URLS.values()) - {""}
    broken = pa.chunked_array([pa.array([b"http://bad.example/\xff", b"http://\xff\xfe/"]).view(pa.string())])
    assert "bad.example" in hosts_of_urls(broken)


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("a.b.example.co.uk", "example.co.uk"),
        ("shop.blogspot.com", "blogspot.com"),
        ("co.uk", "co.uk"),
        ("localhost", "localhost"),
        ("10.0.0.7", "10.0.0.7"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("a.b.some-new-suffix", "b.some-new-suffix"),
    ],
)
def test_a_domain_is_what_somebody_registered(host: str, domain: str) -> None:
    assert domain_of(host) == domain


def test_a_host_lies_within_itself_and_what_is_above_it() -> None:
    assert is_within("a.example.org", "example.org") and is_within("example.org", "example.org")
    assert not is_within("notexample.org", "example.org")
    assert is_within("10.0.0.7", "10.0.0.7") and not is_within("1.10.0.0.7", "10.0.0.7")


def test_hosts_above_domains_are_all_that_rules_stand_below() -> None:
    """An index has none of these: whatever lies below belongs to another domain."""
    rules = {name.lstrip("!") for name in _suffixes()._publicsuffix}
    assert len(rules) > 5000
    above = {name.split(".", number)[-1] for name in rules for number in range(name.count(".") + 1)}
    exceptions = {name[1:] for name in _suffixes()._publicsuffix if name.startswith("!")}
    assert [
        name for name in above - exceptions - {"*"} if not is_above_domains(plain_host(name.removeprefix("*.")))
    ] == []
    for host in ("example.org", "shop.example.co.uk", "a.b.example.kawasaki.jp", "city.kawasaki.jp", "10.0.0.7"):
        assert not is_above_domains(host)
    assert is_above_domains("localhost")


def test_dots_too_many_are_none() -> None:
    assert plain_host(".Example..co.uk.") == "example.co.uk"
