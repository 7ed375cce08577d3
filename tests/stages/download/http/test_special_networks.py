"""No download reaches an address that is not on the public web, is a cloud's own, or is refused by its site."""

import ipaddress

import pytest

from stages.contract import REFUSED_NETWORKS_VARIABLE
from stages.download.http.special_networks import is_public, is_refused

REGISTRIES = """
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.0.0/29 192.0.0.8/32
    192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24
    192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 255.255.255.255/32
    ::1/128 ::/128 ::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32 2001:1::1/128
    2001:1::2/128 2001:1::3/128 2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28 2001:30::/28
    2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10 224.0.0.0/4 ff00::/8 fec0::/10
"""
"""Each row of the special-purpose registries (iana-ipv4-special-registry, iana-ipv6-special-registry); multicast."""

CLOUDS = {
    "Azure": ["168.63.129.16", "169.254.169.254"],
    "AWS": ["169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23"],
    "Google": ["169.254.169.254", "fd20:ce::254", "199.36.153.4", "199.36.153.11"],
    "Alibaba": ["100.100.100.200"],
    "Oracle": ["169.254.169.254", "192.0.0.192"],
    "Tencent": ["169.254.0.23"],
    "IBM": ["161.26.0.10", "166.9.1.1"],
    "OpenStack": ["169.254.169.254", "fe80::a9fe:a9fe"],
}


@pytest.mark.parametrize("network", REGISTRIES.split())
def test_no_address_of_a_special_network_is_asked(network: str) -> None:
    all_of_it = ipaddress.ip_network(network)
    middle = all_of_it[all_of_it.num_addresses // 2]
    assert [is_public(str(one)) for one in (all_of_it[0], middle, all_of_it[-1])] == [False] * 3


@pytest.mark.parametrize(("cloud", "address"), [(name, one) for name, some in CLOUDS.items() for one in some])
def test_no_endpoint_of_a_cloud_is_asked(cloud: str, address: str) -> None:
    assert not is_public(address), cloud


@pytest.mark.parametrize("address", ["::ffff:10.0.0.1", "::ffff:8.8.8.8", "::8.8.8.8", "2002:a00:1::", "2001:0:1::1"])
def test_no_address_that_embeds_another_is_asked(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8", "93.184.215.14", "2606:4700::1111", "168.63.129.15", "168.63.129.17", "192.31.195.255",
        "192.52.194.0", "192.175.47.255", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0",
        "2001:200::1",        "2620:4f:7fff::1", "2620:4f:8001::1", "161.25.255.255", "199.36.153.3", "199.36.153.12",
    ],
)  # fmt: skip
def test_their_neighbours_on_the_public_internet_are(address: str) -> None:
    assert is_public(address)


def test_a_site_refuses_further_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REFUSED_NETWORKS_VARIABLE, "93.184.215.0/24,2606:4700::/32")
    assert not is_public("93.184.215.14") and not is_public("2606:4700::1111") and is_public("8.8.8.8")
    monkeypatch.delenv(REFUSED_NETWORKS_VARIABLE)
    assert is_public("93.184.215.14")


def test_hosts_of_a_private_network_may_be_allowed_but_no_endpoint_of_a_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not any(is_refused(address) for address in ("127.0.0.1", "10.0.0.1", "161.26.0.10", "93.184.215.14"))
    assert all(
        is_refused(address) for address in ("168.63.129.16", "169.254.169.254", "100.100.100.200", "fd20:ce::254")
    )
    monkeypatch.setenv(REFUSED_NETWORKS_VARIABLE, "10.0.0.0/8")
    assert is_refused("10.0.0.1") and not is_refused("127.0.0.1")
